"""The shape of a job's result."""

import pytest

from nunet_node.results.errors import ManifestError
from nunet_node.results.layout import below, check_result, exit_code_text
from nunet_node.results.manifest import FileEntry, build
from nunet_node.wire.cid import Cid


def empty(path):
    return FileEntry(path=path, size_bytes=0)


RECORDS = [empty("stdout"), empty("stderr"), empty("exit_code")]


@pytest.mark.parametrize("outputs", [[], ["outputs/a", "outputs/b/c"]])
def test_a_result_is_its_outputs_and_three_records(outputs):
    check_result(build([*RECORDS, *map(empty, outputs)]).tree)


@pytest.mark.parametrize("missing", range(3))
def test_a_result_without_one_of_its_records_is_refused(missing):
    rest = [record for number, record in enumerate(RECORDS) if number != missing]
    with pytest.raises(ManifestError, match=f"without {RECORDS[missing].path}"):
        check_result(build(rest).tree)


@pytest.mark.parametrize(
    "path", ["outputs", "receipt.cbor", "stdout2", "x/outputs/a", ".x"]
)
def test_a_file_that_has_no_place_in_a_result_is_refused(path):
    with pytest.raises(ManifestError, match="has no place"):
        check_result(build([*RECORDS, empty(path)]).tree)


def test_a_long_exit_code_is_refused():
    long = FileEntry(path="exit_code", size_bytes=17, chunks=(Cid.of_raw(b""),))
    with pytest.raises(ManifestError, match="exit code of 17"):
        check_result(build([*RECORDS[:2], long]).tree)


def test_exit_codes_are_decimal_lines():
    assert [exit_code_text(code) for code in (0, 137, -9)] == [
        b"0\n",
        b"137\n",
        b"-9\n",
    ]


def test_files_can_be_hung_below_a_directory():
    hung = below("outputs", [empty("a"), empty("b/c")])
    assert [file.path for file in hung] == ["outputs/a", "outputs/b/c"]
