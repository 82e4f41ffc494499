"""From what a job left to a tree in the store.

Rule: unless its owner asked for a public result, nothing of it is stored but sealed
bytes, under a key that is made here, sealed to the owner and forgotten.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nunet_node.executors.collect import Collected, CollectedFile, OutputsRefused
from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId, JobSpec, ResultKind
from nunet_node.protocol.effects import StartJob
from nunet_node.quantities import size_text
from nunet_node.results.manifest import BuiltTree, FileEntry, build
from nunet_node.results.sealed_tree import TreeSealer
from nunet_node.results.sealing import KEY_BYTES, Seal, wrap_key
from nunet_node.storage.batch import Batch
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.files import read_parts
from nunet_node.wire.cid import Cid

SKIPPED_SHOWN_MAX: Final = 3
"""Outputs passed over that a reason names; the rest is a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """One file of a result: where its bytes lie, or the bytes themselves."""

    path: str
    source: Path | bytes
    executable: bool = False

    @classmethod
    def of(cls, path: str, found: CollectedFile) -> "Leaving":
        """Return an output as it is called in a result."""
        return cls(path=path, source=found.source, executable=found.executable)

    def parts(self) -> Iterable[bytes]:
        """Return its bytes in parts; reads the disk."""
        if isinstance(self.source, bytes):
            return (self.source,)
        return read_parts(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A stored result: its root, the length of its files, and its key if it has one."""

    root: Cid
    blocks: frozenset[Cid]
    """All that it is made of, its root among them."""
    size_bytes: int
    kept_bytes: int
    """Length of what is stored, which sealing makes a little longer."""
    sealed_key: bytes = b""


def pack(store: BlockStore, files: Sequence[Leaving], order: StartJob) -> Packed:
    """Store what the job of an order left, as its owner wants it. Blocks on the disk.

    Raises:
        PeerError: as the two below.
        OSError: a file cannot be read.
    """
    if order.spec.results is ResultKind.PUBLIC:
        return pack_public(store, files)
    return pack_sealed(
        store,
        files,
        job=order.job,
        attempt=order.attempt,
        owner=Did(order.owner),
        agreement=order.agreement,
    )


def pack_sealed(
    store: BlockStore,
    files: Sequence[Leaving],
    *,
    job: JobId,
    attempt: int,
    owner: Did,
    agreement: bytes = b"",
) -> Packed:
    """Seal a result to its owner and store it durably. Blocks on the disk.

    Args:
        store: where it is kept.
        files: what the job left.
        job: the job's id.
        attempt: which attempt.
        owner: who is to read it.
        agreement: the owner's X25519 key, where the owner's DID does not carry it.

    Raises:
        NoAgreementKeyError: nothing can be sealed to the owner.
        PeerError: the disk is full or failing, or a path cannot be carried.
        OSError: a file cannot be read.
    """
    key = secrets.token_bytes(KEY_BYTES)
    with store.batch() as batch:
        sealer = TreeSealer(Seal(key=key, job=job, attempt=attempt), batch.put)
        for file in sorted(files, key=lambda file: file.path.encode()):
            sealer.add(file.path, file.parts(), executable=file.executable)
        made = sealer.finish()
        _put_all(batch, made.outer.blocks)
    root = made.outer.root
    sealed_key = wrap_key(
        key,
        reader=owner,
        job=job,
        root=root,
        ephemeral_secret=secrets.token_bytes(KEY_BYTES),
        agreement=agreement,
    )
    return Packed(
        root=root,
        blocks=_blocks_of(made.outer),
        size_bytes=made.size_bytes,
        kept_bytes=made.outer.tree.size_bytes,
        sealed_key=sealed_key,
    )


def pack_public(store: BlockStore, files: Sequence[Leaving]) -> Packed:
    """Store a result as plain files, durably. Blocks on the disk.

    Raises:
        PeerError: the disk is full or failing, or a path cannot be carried.
        OSError: a file cannot be read.
    """
    with store.batch() as batch:
        built = build([_plain(batch, file) for file in files])
        _put_all(batch, built.blocks)
    size_bytes = built.tree.size_bytes
    return Packed(
        root=built.root,
        blocks=_blocks_of(built),
        size_bytes=size_bytes,
        kept_bytes=size_bytes,
    )


def output_bytes_max(spec: JobSpec) -> int:
    """Return how much a job may leave."""
    said = spec.output_bytes_max
    return spec.resources.disk_bytes if said is None else said


def too_much(refused: OutputsRefused) -> str:
    """Say why all outputs are left out."""
    if refused.limit == "files_max":
        return f"its outputs are more than {refused.allowed} files"
    return f"its outputs exceed their limit of {size_text(refused.allowed)}"


def left_out(found: Collected) -> str:
    """Say which outputs are left out, and why; nothing if none is."""
    if not found.skipped:
        return ""
    shown = [f"{each.path} ({each.reason})" for each in found.skipped]
    more = len(shown) - SKIPPED_SHOWN_MAX + found.skipped_more
    rest = f" and {more} more" if more > 0 else ""
    return f"left out: {', '.join(shown[:SKIPPED_SHOWN_MAX])}{rest}"


def _plain(batch: Batch, file: Leaving) -> FileEntry:
    if isinstance(file.source, bytes):
        chunks: tuple[Cid, ...] = (batch.put(file.source),)
        size_bytes = len(file.source)
    else:
        stored = batch.add_file(file.source)
        chunks, size_bytes = stored.chunks, stored.size_bytes
    return FileEntry(
        path=file.path,
        size_bytes=size_bytes,
        executable=file.executable,
        chunks=chunks,
    )


def _blocks_of(built: BuiltTree) -> frozenset[Cid]:
    chunks = (chunk for file in built.tree.files for chunk in file.chunks)
    return frozenset((*(cid for cid, _ in built.blocks), *chunks))


def _put_all(batch: Batch, blocks: Iterable[tuple[Cid, bytes]]) -> None:
    for cid, data in blocks:
        batch.put(data, cid)
