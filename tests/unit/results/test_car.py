"""Archives are read as they were written, or refused."""

import io

import pytest

from nunet_node.results import car
from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.wire.cid import Cid

ROOT = Cid.of_raw(b"one").to_bytes()
OTHER = Cid.of_dag_cbor(b"\xa0").to_bytes()
ARCHIVE = car.header(ROOT) + car.section(ROOT, b"one") + car.section(OTHER, b"\xa0")


def read(data):
    return list(car.read(io.BytesIO(data).read))


def test_an_archive_gives_its_root_and_its_blocks():
    assert read(ARCHIVE) == [(ROOT, b""), (ROOT, b"one"), (OTHER, b"\xa0")]


def test_an_archive_begins_as_other_tools_write_it():
    # The header of any CARv1 file with one CIDv1 root, such as those of
    # ipfs/gateway-conformance: 58 bytes, {"roots": [CID], "version": 1}.
    assert car.header(ROOT)[:18].hex() == "3aa265726f6f747381d82a58250001551220"
    assert car.header(ROOT)[-9:].hex() == "6776657273696f6e01"


@pytest.mark.parametrize("length", range(len(ARCHIVE)))
def test_an_archive_cut_anywhere_gives_whole_blocks_or_an_error(length):
    whole = read(ARCHIVE)
    try:
        found = read(ARCHIVE[:length])
    except ManifestError:
        return
    assert found == whole[: len(found)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\xff" * 5,
        b"\xff\xff\xff\xff\x7f",
        car.header(ROOT) + b"\x01",
        car.header(ROOT) + b"\xff\xff\xff\x7f",
        car.header(b"\x01\x55\x1b\x20" + bytes(32)),
        car.header(ROOT) + car.section(b"\x01\x55\x1b\x20" + bytes(32), b""),
        ARCHIVE.replace(b"version\x01", b"version\x02"),
    ],
)
def test_what_is_no_archive_is_refused(data):
    with pytest.raises(ManifestError):
        read(data)


def test_a_block_under_another_id_is_refused():
    with pytest.raises(BlockError):
        read(car.header(ROOT) + car.section(ROOT, b"another"))
