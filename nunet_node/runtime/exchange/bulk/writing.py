"""From a result's blocks to its files, sealed or public, as the blocks come.

Rule: nothing appears where the user wants it before all of it was read and checked.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nunet_node.results.layout import check_result
from nunet_node.results.manifest import Tree
from nunet_node.results.plan import missing_blocks
from nunet_node.results.sealed_tree import SealedReader
from nunet_node.results.sealing import Seal
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.store.ahead import expecting
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError
from nunet_node.storage.materialise import NewFile, write_whole
from nunet_node.wire.cid import Cid

Get = Callable[[Cid], bytes | memoryview]
"""Returns a block's bytes, checked; may wait for them."""


def write_result(
    tree: Tree,
    seal: Seal | None,
    target: Path,
    beside: Mapping[str, bytes] | None,
    get: Get,
) -> None:
    """Write a result to the directory ``target``. Blocks on the disk, and on ``get``.

    Raises:
        SealError: the seal does not open it.
        PeerError: it is no result, or cannot be written; nothing appears then.
    """
    if seal is None:
        check_result(tree)
        write_whole(_plain(tree, get), target, beside=beside)
    else:
        reader = SealedReader(tree, seal, get)
        write_whole(_unsealed(reader), target, beside=beside)


def write_stored(
    store: BlockStore,
    root: Cid,
    seal: Seal | None,
    target: Path,
    beside: Mapping[str, bytes] | None,
) -> None:
    """Write a result that is all in a store. Blocks on the disk.

    Raises:
        BlockMissingError: a part of it is not there.
        PeerError: as `write_result`.
    """
    tree = tree_of(store, root)
    missing = missing_blocks(tree, store.has)
    if missing:
        raise BlockMissingError(f"{len(missing)} blocks of {root} are not here")
    order = (cid for file in tree.files for cid in file.chunks)
    with expecting(store.get, order) as get:
        write_result(tree, seal, target, beside, get)


def _plain(tree: Tree, get: Get) -> Iterator[NewFile]:
    for file in tree.files:
        data = map(get, file.chunks)
        yield NewFile(path=file.path, executable=file.executable, data=data)


def _unsealed(reader: SealedReader) -> Iterator[NewFile]:
    index = reader.index()
    check_result(index)
    for file in index.files:
        data = reader.read(reader.place(file))
        yield NewFile(path=file.path, executable=file.executable, data=data)
