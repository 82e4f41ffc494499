"""What a provider keeps for others: inputs until the end of a job, its result after.

Rule: the blocks of others lie in a store of their own, where nothing stays that no job
in custody needs, so that what a job was given goes with the job, and the blocks of this
home's own users are never touched. The ledger says what is needed; pins keep it.
"""

import hashlib
import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.replicas.record import Replica, ReplicaKey
from nunet_node.results.logs.chain import LogHead
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.store.chains import Chains
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError
from nunet_node.storage.pins import Pins
from nunet_node.wire.cid import Cid

_INPUTS: Final = "inputs"
_RESULT: Final = "result"
_LOGS: Final = "logs"
_COPY: Final = "copy"

_COPY_NAME_CHARS: Final = 40
"""160 bits of a digest, as a job's id has."""

_log = logging.getLogger("nunet_node.runtime.custody")


LogHeads = tuple[tuple[JobId, int, LogHead], ...]
"""How far the logs of each of some attempts go."""


class Custody:
    """The blocks of the jobs in custody; calls block on the disk and take turns."""

    def __init__(self, store: BlockStore, root: Path) -> None:
        """Read what is pinned below ``root``; `begin` comes before anything else.

        Raises:
            StoreUnavailableError: the pins cannot be read.
        """
        self.store = store
        self._pins = Pins(root, store)
        self._turn = threading.Lock()
        self.chains = Chains(root.parent / "logs")
        self._labels: defaultdict[str, set[str]] = defaultdict(set)
        for label in self._pins.labels():
            self._labels[_job_of(label)].add(label)

    @classmethod
    def open(cls, root: Path) -> "Custody":
        """Open the store at ``root``, or make one; its ``store`` is to be closed.

        Raises:
            StoreUnavailableError: the directory cannot be made or written.
        """
        return cls(BlockStore(root), root / "pins")

    def begin(
        self,
        jobs: Mapping[JobId, Job],
        replicas: Mapping[ReplicaKey, Replica] | None = None,
    ) -> int:
        """Let go of whatever these do not need; return how many blocks went.

        What they need is pinned anew where a power cut took the pin.
        """
        needed = {label: root for job in jobs.values() for label, root in _needed(job)}
        for key, replica in (replicas or {}).items():
            needed[_copy_label(*key)] = replica.root
        for name in list(self._labels):
            self._let_go(name, needed)
        for label, root in needed.items():
            if not self._pins.keeps(label, root):
                self._keep_again(label, root)
        self.chains.keep_only(
            {
                (job.job, job.attempt)
                for job in jobs.values()
                if not job.expired
                and job.result is None
                and (job.log is not None or not job.ended)
            }
        )
        return self._pins.sweep()

    def log_heads(self, jobs: Mapping[JobId, Job]) -> LogHeads:
        """Return how far the logs go of jobs that were under way. Blocks."""
        under_way = {(job.job, job.attempt) for job in jobs.values() if job.started}
        heads = self.chains.heads(under_way)
        return tuple(
            (JobId(job), attempt, head) for (job, attempt), head in heads.items()
        )

    def keep_inputs(self, job: JobId, attempt: int, root: Cid) -> None:
        """Keep the inputs of an attempt, all of which are in the store.

        Raises:
            BlockMissingError: they are not, perhaps since a moment ago.
            StoreUnavailableError: the disk is full or failing.
        """
        self._keep(job, _label(job, attempt, _INPUTS), self._under(root))

    def keep_result(self, job: JobId, attempt: int, blocks: frozenset[Cid]) -> None:
        """Keep the result of an attempt: all its blocks, which are in the store.

        Raises:
            BlockMissingError: one is not.
            StoreUnavailableError: the disk is full or failing.
        """
        self._keep(job, _label(job, attempt, _RESULT), blocks)

    def keep_logs(self, job: JobId, attempt: int, blocks: frozenset[Cid]) -> None:
        """Keep an attempt's logs as they are copied; earlier ones are let go.

        Raises:
            BlockMissingError: a block is not in the store.
            StoreUnavailableError: the disk is full or failing.
        """
        self._keep(job, _label(job, attempt, _LOGS), blocks)

    def keep_copy(self, owner: Did, job: JobId, root: Cid) -> None:
        """Keep a copy of a result, all of which is in the store.

        Raises:
            BlockMissingError: it is not.
            StoreUnavailableError: the disk is full or failing.
        """
        label = _copy_label(owner, job)
        self._keep(_job_of(label), label, self._under(root))

    def drop_copy(self, owner: Did, job: JobId) -> None:
        """Let go of a copy of a result."""
        self._drop(_job_of(_copy_label(owner, job)))

    def drop_result(self, job: JobId) -> None:
        """Let go of everything of a job, whose result's time is over."""
        self._drop(job)
        self.chains.drop(job)

    def clear(self, *, grace_s: int) -> int:
        """Delete old blocks that nothing keeps, such as a broken hand-over's."""
        return self._pins.clear(grace_s)

    def ended(self, job: JobId, attempt: int, *, has_result: bool) -> None:
        """Let go of everything of a job but the result of its last attempt.

        A result has the logs too; without one they stay by themselves.
        """
        if has_result:
            self.chains.drop(job)
        newer = {
            _label(job, later, _INPUTS) for later in range(attempt + 1, attempt + 16)
        }
        what = _RESULT if has_result else _LOGS
        try:
            self._let_go(job, {_label(job, attempt, what), *newer})
        except PeerError as error:
            # The next start of this node tries again.
            _log.warning("what job %s left is still here: %s", job, error)

    def _drop(self, job: str) -> None:
        try:
            self._let_go(job, ())
        except PeerError as error:
            # The next start of this node tries again.
            _log.warning("what was kept of %s is still here: %s", job, error)

    def _keep_again(self, label: str, root: Cid) -> None:
        try:
            self._keep(_job_of(label), label, self._under(root))
        except BlockMissingError:
            # Inputs or a copy that never came whole; a lost result is asked for.
            _log.info("%s is not here, or not whole", label)

    def _under(self, root: Cid) -> frozenset[Cid]:
        blocks = blocks_under(self.store, root)
        if not blocks:
            raise BlockMissingError(f"no tree {root} to keep")
        return blocks

    def _keep(self, job: str, label: str, blocks: frozenset[Cid]) -> None:
        with self._turn:
            self._pins.pin(label, blocks)
            self._labels[job].add(label)

    def _let_go(self, job: str, needed: Collection[str]) -> None:
        with self._turn:
            for label in self._labels[job].difference(needed):
                self._pins.unpin(label)
                self._labels[job].discard(label)
            if not self._labels[job]:
                del self._labels[job]


def _needed(job: Job) -> Iterator[tuple[str, Cid]]:
    """Yield what a job needs, by label, and its root."""
    if job.expired:
        return
    if job.packed is not None and job.result is None:
        yield _label(job.job, job.attempt, _LOGS), job.packed.root
    if job.ended:
        if job.result is not None:
            yield _label(job.job, job.attempt, _RESULT), job.result
    elif job.spec.inputs is not None:
        # An attempt that this provider began by itself uses those of the one before.
        for attempt in range(1, job.attempt + 1):
            yield _label(job.job, attempt, _INPUTS), job.spec.inputs


def _copy_label(owner: Did, job: JobId) -> str:
    # Two owners' copies of one job are two: an owner's name alone proves nothing.
    of = hashlib.sha256(f"{owner}|{job}".encode()).hexdigest()[:_COPY_NAME_CHARS]
    return f"{_COPY}-{of}.{_RESULT}"


def _job_of(label: str) -> str:
    return label.partition(".")[0]


def _label(job: JobId, attempt: int, what: str) -> str:
    return f"{job}.{attempt}.{what}"
