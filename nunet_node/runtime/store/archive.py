"""Trees as files that travel by other means: CARv1 archives, both ways.

Rule: an archive appears under its name only when it is whole; what is imported is
checked block by block, and kept even if the archive breaks off later.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nunet_node.results import car
from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.unixfs import cid_text, of_tree
from nunet_node.runtime.exchange.blocks import blocks_under, tree_of
from nunet_node.runtime.store.ahead import read_ahead
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError, TargetRefusedError
from nunet_node.storage.files import sync_directory, why
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import CidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What went into an archive, or came out of one."""

    root: str
    blocks: int


def export_tree(store: BlockStore, root: Cid, target: Path) -> Archived:
    """Write a tree as it is stored: its manifest and its chunks, sealed if they are.

    Raises:
        BlockMissingError: a part of it is not here.
        TargetRefusedError: the target is there already, or cannot be written.
    """
    blocks = blocks_under(store, root)
    if not blocks:
        raise BlockMissingError(f"no whole tree {root} here; fetch it first")
    with _new_file(target) as file:
        file.write(car.header(root.to_bytes()))
        order = sorted(blocks, key=lambda cid: (cid != root, cid))
        with closing(read_ahead(store.get, len, order)) as coming:
            for cid, data in zip(order, coming, strict=True):
                file.write(car.section(cid.to_bytes(), data))
    return Archived(root=str(root), blocks=len(blocks))


def export_unixfs(store: BlockStore, root: Cid, target: Path) -> Archived:
    """Write a plain tree as UnixFS, which IPFS tools read; its root is that of `ipfs`.

    Raises:
        BlockMissingError: a part of it is not here.
        TreeTooLargeError: a directory has too many entries.
        TargetRefusedError: the target is there already, or cannot be written.
    """
    made = of_tree(tree_of(store, root))
    with _new_file(target) as file:
        file.write(car.header(made.root.cid))
        for cid, data in reversed(made.blocks):
            file.write(car.section(cid, data))
        with closing(read_ahead(partial(_leaf, store), len, made.leaves)) as coming:
            for leaf, data in zip(made.leaves, coming, strict=True):
                file.write(car.section(leaf.to_bytes(), data))
    return Archived(root=made.text, blocks=len(made.blocks) + len(made.leaves))


def import_archive(store: BlockStore, source: Path) -> Archived:
    """Store the blocks of an archive, each checked.

    Raises:
        ManifestError: it is no archive, is cut off, or holds blocks of other formats.
        BlockError: a block is not the one that its id names.
        StoreUnavailableError: the disk is full or failing.
    """
    try:
        with source.open("rb") as file, store.batch() as batch:
            sections = car.read(file.read)
            root, _ = next(sections)
            blocks = 0
            try:
                for cid, data in sections:
                    batch.put(data, Cid.from_bytes(cid))
                    blocks += 1
            except (ManifestError, BlockError):
                # What came before was checked, and need not be fetched.
                batch.commit()
                raise
    except CidError:
        raise ManifestError(
            f"{source} holds UnixFS, which is written here and not read; the files "
            "themselves can be a job's inputs"
        ) from None
    except OSError as error:
        raise TargetRefusedError(f"cannot read {source}: {why(error)}") from error
    return Archived(root=cid_text(root), blocks=blocks)


def _leaf(store: BlockStore, leaf: Cid) -> bytes:
    return b"" if leaf == Cid.of_raw(b"") else store.get(leaf)


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a private file beside the target, which becomes it if all goes well."""
    if target.exists() or target.is_symlink():
        raise TargetRefusedError(f"{target} is there already")
    unfinished = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
        sync_directory(target.absolute().parent)
    except OSError as error:
        raise TargetRefusedError(f"cannot write {target}: {why(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)
