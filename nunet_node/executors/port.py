"""What the rest of the node knows of running a job: an order, its end, an engine.

Rule: these values carry no handle and no clock, so the protocol can hold them. An
order that cannot be run is answered by a `RunEnd` with a reason; only misuse of the
interface itself raises.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol

from nunet_node.errors import PeerError
from nunet_node.quantities import Gpus, Reached

if TYPE_CHECKING:
    from nunet_node.executors.collect import Collected, OutputsRefused
    from nunet_node.executors.jobdir import JobDir

Engine = Literal["python", "wasm", "process", "container"]
"""The ways a job can run here."""

Limit = Literal["wall", "memory", "disk", "files", "log", "cpu", "cancelled", "lost"]
"""Which promise of the order ended the job before it ended by itself; ``lost`` is the
machine's, where a job runs on another one: nobody knows how it ended."""

ENGINES: Final[tuple[Engine, ...]] = ("wasm", "python", "process", "container")
"""Every engine, in the order in which `probe` reports them."""

Barrier = Literal[
    "network",
    "host files",
    "host processes",
    "privileges",
    "memory",
    "disk",
    "processes",
    "log",
    "wall",
]
"""What a probe tries to break: four walls, and five promises of an order."""

SECRETS_PATH: Final = "/run/secrets"
"""Where a job finds its secrets, each a file of its name."""

NO_SECRETS: Final = "not started: its secrets cannot be kept from others here"
"""Why what names secrets is not run, should it come to an engine that is not for it."""

PROBE_IMAGE: Final = "nunet-node/probe"
"""What an order names to get the image that containers are probed with."""

FILES_MAX: Final = 20_000
"""Most files and directories a job may hold; removing more takes seconds."""


class EngineError(PeerError):
    """The container engine refused, failed or is not there."""

    code: ClassVar[str] = "executor.container"


class DevicesError(PeerError):
    """The devices that a job was promised are not here."""

    code: ClassVar[str] = "executor.devices"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """One run of one job: what to start and what it may use.

    ``argv`` starts with the script (python) or module (wasm) as a path inside the
    job directory, or with the command itself (process). ``env`` is added to the
    sandbox's own few variables. ``image`` names the root file system of a container,
    or of a process that brings its own: an input, or what an engine has.
    ``log_bytes_max`` counts both streams together; ``output_bytes_max`` and
    ``files_max`` bound what is collected afterwards, of what ``outputs`` match.
    ``gpus`` names kinds exactly; ``nodes`` are those in /dev through which the job
    reaches the ones it got. ``secrets`` become files in `SECRETS_PATH`, which exist in
    memory, for the job alone, and as long as it runs. ``domains`` are what a process
    may reach over HTTP.
    """

    job: str
    engine: Engine
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    image: str = ""
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    wall_s: int
    output_bytes_max: int
    log_bytes_max: int
    files_max: int = FILES_MAX
    outputs: tuple[str, ...] = ()
    gpus: tuple[Gpus, ...] = ()
    nodes: tuple[str, ...] = ()
    secrets: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run used; ``fuel`` counts WebAssembly instructions, 0 elsewhere.

    The sandboxed runner reports ``fuel`` and its own peak, so they bind nobody but
    the provider, who could misreport them anyway.
    """

    cpu_ms: int = 0
    wall_ms: int = 0
    memory_peak_bytes: int = 0
    fuel: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended.

    ``exit_code`` is the job's own (128 + n for signal n), or None when the job never
    started or was ended from outside. ``limit`` names the promise that ended it.
    ``reason`` explains an end that the exit code does not. ``isolation`` names what
    was really achieved. A truncated stream was cut at the log limit. ``reached`` has a
    line for each rule of the order under which something was reached.
    """

    exit_code: int | None
    limit: Limit | None = None
    reason: str | None = None
    usage: Usage = Usage()
    isolation: str = "none"
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    reached: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether one barrier held when a guest of ours tried to break it.

    ``detail`` says what the guest reached, or why nothing was shown.
    """

    barrier: Barrier
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Whether one engine works on this machine, found out by using it.

    ``isolation`` lists the barriers, joined by ``+``; ``findings`` what was tried
    against them. An engine with a barrier that did not hold is not ready. Then
    ``detail`` says what failed and ``remedy`` what a person can do about it.
    """

    engine: Engine
    isolation: str
    ready: bool
    detail: str
    remedy: str | None = None
    findings: tuple[Finding, ...] = ()
    waits: bool = False
    """Not ready, but may be after `LocalExecutors.prepare`."""
    http: bool = False
    """Whether its jobs were seen to reach the domains they are given, and no others."""
    http_gap: str = ""
    """Why not, where that was tried."""
    secrets: bool = False
    """Whether it can show a job secrets that nobody else sees."""


class Executors(Protocol):
    """What runs jobs, on this machine or on others; see `LocalExecutors`."""

    def sweep(self) -> int:
        """Remove what a killed node left; call it before the first job."""
        ...

    async def probe(self, *, thorough: bool = False) -> tuple[Capability, ...]:
        """Return what each engine was seen to hold."""
        ...

    async def prepare(self) -> None:
        """Do what takes seconds before an engine can be tried."""
        ...

    def warmed(self) -> AbstractAsyncContextManager[None]:
        """Be ready for jobs within this context."""
        ...

    async def open_job(self, job_id: str, attempt: int) -> "JobDir":
        """Make the directory of one attempt."""
        ...

    async def run(
        self,
        order: RunOrder,
        job_dir: "JobDir",
        on_started: Callable[[], None] | None = None,
        on_log: Callable[[str, bytes], None] | None = None,
    ) -> RunEnd:
        """Run one order to its end; cancelled, leave nothing of it alive."""
        ...

    async def collect(
        self,
        job_dir: "JobDir",
        globs: tuple[str, ...],
        *,
        bytes_max: int,
        files_max: int,
    ) -> "Collected | OutputsRefused":
        """Find the outputs of a run that has ended."""
        ...

    async def remove(self, job_dir: "JobDir") -> None:
        """Delete the directory of an attempt."""
        ...
