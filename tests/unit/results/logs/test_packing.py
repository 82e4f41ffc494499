"""The records of a chain as the one file of a tree, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.results.errors import LogTamperedError
from nunet_node.results.logs.chain import RECORD_BYTES_MAX
from nunet_node.results.logs.packing import CHAIN_FILE, framed, records_in
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.wire.cid import Cid


def tree(data, path=CHAIN_FILE, step=CHUNK_BYTES):
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    blocks = {Cid.of_raw(part): part for part in parts}
    file = FileEntry(path=path, size_bytes=len(data), chunks=tuple(blocks))
    return build([file]).tree, blocks.__getitem__


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_what_was_packed_comes_out(records):
    data = b"".join(map(framed, records))

    assert list(records_in(*tree(data))) == records


def test_records_go_across_chunks():
    records = [bytes([n]) * (RECORD_BYTES_MAX - n) for n in range(1, 20)]
    data = b"".join(map(framed, records))

    assert len(data) > 2 * CHUNK_BYTES
    assert list(records_in(*tree(data))) == records


@pytest.mark.parametrize(
    "data", [framed(b"whole") + b"\0\0\0", framed(b"cut off")[:-1], b"\xff" * 40]
)
def test_what_is_no_packed_chain_is_refused(data):
    with pytest.raises(LogTamperedError):
        list(records_in(*tree(data)))


def test_another_file_is_no_packed_chain():
    with pytest.raises(LogTamperedError):
        list(records_in(*tree(framed(b"a"), path="stdout")))
