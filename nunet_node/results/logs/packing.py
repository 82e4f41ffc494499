"""The records of a chain one behind the other, as the one file of a tree.

Each stands after its length, so that a chain that grows makes its file longer and
changes nothing of it: of two trees of one chain all full chunks are the same.
"""

from collections.abc import Callable, Generator
from typing import Final

from nunet_node.results.errors import LogTamperedError
from nunet_node.results.logs.chain import RECORD_BYTES_MAX
from nunet_node.results.manifest import Tree
from nunet_node.wire.cid import Cid

CHAIN_FILE: Final = "chain"
"""The name of the file."""

_LENGTH_BYTES: Final = 4


def framed(record: bytes) -> bytes:
    """Return a record as it stands in the file."""
    return len(record).to_bytes(_LENGTH_BYTES, "big") + record


def records_in(tree: Tree, get: Callable[[Cid], bytes]) -> Generator[bytes, None, None]:
    """Yield the records of a packed chain, its header first; reads the disk.

    Raises:
        LogTamperedError: it is no packed chain.
        PeerError: a chunk cannot be read.
    """
    if [file.path for file in tree.files] != [CHAIN_FILE]:
        raise LogTamperedError("a copy of logs that is none")
    room = bytearray()
    for cid in tree.files[0].chunks:
        room += get(cid)
        while len(room) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(room[:_LENGTH_BYTES], "big")
            if end > _LENGTH_BYTES + RECORD_BYTES_MAX:
                raise LogTamperedError("a copy of logs that is none")
            if len(room) < end:
                break
            yield bytes(room[_LENGTH_BYTES:end])
            del room[:end]
    if room:
        raise LogTamperedError("a copy of logs that breaks off")
