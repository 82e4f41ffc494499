"""What is asked of a cluster, whichever it is: its machines, jobs on them, their ends.

Rule: a cluster starts our runner on one of its machines and no more is believed of
it; what the job does, and how it ends, the runner tells over its own connection. So
a cluster needs no shared directory, and an adapter for another kind is a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal, Protocol

from nunet_node.errors import PeerError

TICKET_VARIABLE: Final = "NUNET_TICKET"
"""The environment variable in which a runner finds whom to ask for its job."""

DETAIL_CHARS_MAX: Final = 300
"""Most of a cluster's words that a reason repeats."""


LABEL_CHARS_MAX: Final = 64
"""Longest label of a GPU: as a model's name."""


class ClusterError(PeerError):
    """The cluster does not answer, or not as it should."""

    code: ClassVar[str] = "executor.cluster"


class ClusterRefusedError(ClusterError):
    """The cluster will never run this; waiting would not help."""

    code: ClassVar[str] = "executor.cluster-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterGpus:
    """Graphics processors by what the cluster calls them; empty is no type at all."""

    label: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRoom:
    """What jobs may use of one machine; a disk of 0 bytes is one that is not told.

    ``job_memory_bytes_max`` is the most that one job may have of its memory, and
    ``run_s_max`` the longest that it may be there; 0 where the cluster sets no bound.
    """

    name: str
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int = 0
    gpus: tuple[ClusterGpus, ...] = ()
    job_memory_bytes_max: int = 0
    run_s_max: int = 0

    @property
    def for_one(self) -> "MachineRoom":
        """What one job can have of it."""
        most = self.job_memory_bytes_max or self.memory_bytes
        return replace(self, memory_bytes=min(self.memory_bytes, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """What a cluster is asked to start: one command on one machine.

    ``ticket`` is the value of `TICKET_VARIABLE`, and secret. ``wall_s`` is when the
    cluster may end it by force; the runner is done before.
    """

    name: str
    words: tuple[str, ...]
    ticket: str
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    wall_s: int
    gpus: ClusterGpus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """Where a job of the cluster is, in its words too.

    ``never`` tells that it waits for what will not come.
    """

    phase: Literal["waiting", "running", "ended"]
    detail: str = ""
    never: bool = False


class Cluster(Protocol):
    """One cluster. Every call may raise `ClusterError`."""

    async def describe(self) -> str:
        """Return what it is and where, for people."""
        ...

    async def machines(self) -> tuple[MachineRoom, ...]:
        """Return the machines that take jobs now."""
        ...

    async def submit(self, job: ClusterJob) -> str:
        """Start a job as soon as a machine has room, and return its handle.

        Raises:
            ClusterRefusedError: it will never run this.
        """
        ...

    async def state(self, handle: str) -> JobState:
        """Return where a job is; one that is not known has ended."""
        ...

    async def stop(self, handle: str) -> None:
        """Begin to end a job; one that has ended is no error."""
        ...

    async def living(self) -> Mapping[str, str]:
        """Return the names, by handle, of the jobs that have not ended."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
