"""Running jobs on this machine: the executors that a provider offers.

Rule: an engine is offered only when it has just worked, and no engine runs a guest
in this process. Cancelling a run returns only when nothing of the job is alive.
"""

import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.executors import collect as collecting
from nunet_node.executors import engines, jobdir
from nunet_node.executors.collect import Collected, OutputsRefused
from nunet_node.executors.images.cache import ImageCache
from nunet_node.executors.jobdir import InputPathError, JobDir, ScratchError
from nunet_node.executors.modules import (
    MODULE_BYTES_MAX,
    ModuleCache,
    find_python,
)
from nunet_node.executors.port import (
    ENGINES,
    NO_SECRETS,
    Capability,
    Engine,
    EngineError,
    RunEnd,
    RunOrder,
)
from nunet_node.executors.probing.examine import examine, unready
from nunet_node.executors.probing.reaching import why_not_reaching
from nunet_node.executors.probing.secrets import can_mount, shows_secrets
from nunet_node.executors.ready import Ready, Warm, warmed
from nunet_node.executors.sandbox import bubblewrap, cgroups
from nunet_node.executors.sandbox.cgroups import ControlGroup
from nunet_node.executors.sandbox.devices import Devices
from nunet_node.executors.supervise import OnLog, OnStarted, supervise

if TYPE_CHECKING:
    from nunet_node.executors.container.run import Containers
    from nunet_node.executors.proxy.outside import Outside

_NO_SOCKET: Final = "no socket of a container engine was found"
_NO_WAY_OUT: Final = "not started: only a process can be given domains to reach"


class LocalExecutors:
    """The engines of one node; its methods may run concurrently."""

    def __init__(
        self,
        scratch: Path,
        cache: Path,
        *,
        control_groups: bool = True,
        container_socket: Path | None = None,
        lent: tuple[str, ...] = (),
        outside: "Outside | None" = None,
    ) -> None:
        """Use ``scratch`` for job directories and ``cache`` for compiled modules.

        ``control_groups`` False leaves them alone where they are somebody else's to
        keep; memory is then measured instead, and no share of a processor is held. A
        node run as root passes a scratch directory that any user can pass through,
        never one inside its home. ``container_socket`` is where a container engine
        of this machine listens; without one there are no containers. ``lent`` are the
        domains that jobs may reach at all, ``outside`` how: as this machine does, when
        None.

        Raises:
            ScratchError: somebody else owns one of them, or could write there.
        """
        self._scratch = own_scratch(scratch)
        self._modules = ModuleCache(cache, scratch, control_groups=control_groups)
        self._control_groups = control_groups
        self._containers = (
            None if container_socket is None else _containers(container_socket)
        )
        self._images = ImageCache(self._scratch / "images")
        self._lent = lent
        self._outside = outside
        self._bwrap: Path | None = None
        self._warm: Warm | None = None
        self._held: dict[Engine, Capability] = {}
        self._swept = False  # once, for it ends what runs
        self._mounts = False
        """Whether a runner was seen to mount secrets for itself."""
        self._prepared = False
        self.in_doubt = False
        """Whether an engine that had held did not start a job since the last probe."""
        self.devices = Devices()
        """The graphics processors that jobs can be given; none until they are told."""

    def sweep(self) -> int:
        """Remove what a killed node left; call it before the first job."""
        cgroups.sweep()
        return jobdir.sweep(self._scratch)

    async def probe(self, *, thorough: bool = False) -> tuple[Capability, ...]:
        """Attack every engine from inside; a broken one is an answer, not an error.

        What held once is not tried again, for as long as this object lives. A
        ``thorough`` look tries deadlines too, which takes a second, and tries anew.
        """
        # A job that ends meanwhile may put another engine in doubt: for the next look.
        known = {} if thorough else dict(self._held)

        async def one(engine: Engine) -> None:
            if engine in known:
                return
            self._held.pop(engine, None)
            found = await self._probe_one(engine, thorough=thorough)
            shows = shows_secrets(found, mounts=self._mounts)
            known[engine] = replace(found, secrets=shows)
            if found.ready:
                self._held[engine] = known[engine]

        self.in_doubt = False
        self._mounts = self._mounts or await can_mount(self)
        async with trio.open_nursery() as nursery:
            for engine in ENGINES:
                nursery.start_soon(one, engine)
        return tuple(known[engine] for engine in ENGINES)

    async def compile_python(self) -> None:
        """Make Python jobs possible: compile CPython unless it has been.

        Takes 4 to 8 seconds of processor time, once for each user of a machine.

        Raises:
            ModuleError: it is not installed, or could not be compiled.
        """
        await self._modules.python()

    async def prepare(self) -> None:
        """Do what takes seconds before an engine can be tried: call it once.

        Raises:
            ModuleError: CPython could not be compiled; the rest is prepared.
        """
        self._prepared = True
        await self.compile_python()

    @contextlib.asynccontextmanager
    async def warmed(self) -> AsyncIterator[None]:
        """Start jobs faster within this context, as forks of one warm process.

        Saves each job about 40 ms for some 40 MiB that all of them share, and another
        ten where there are control groups. Without it everything works the same.
        """
        async with warmed(self._named_group) as warm:
            self._warm = warm
            try:
                yield
            finally:
                self._warm = None

    async def open_job(self, job_id: str, attempt: int) -> JobDir:
        """Make the directory of one attempt; give it to `remove` in the end.

        Raises:
            ScratchError: no place or no user id for it.
            OSError: the disk is full.
        """
        if not job_id or attempt < 1:
            raise MisuseError("a job directory needs a job and an attempt from 1")
        return await trio.to_thread.run_sync(jobdir.open_job_dir, self._scratch)

    async def run(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None = None,
        on_log: OnLog | None = None,
    ) -> RunEnd:
        """Run one order to its end.

        ``on_started`` is called once, when the guest is about to execute; ``on_log``
        gets the stream's name and the bytes as they come. Cancelling kills the whole
        tree before this returns.
        """
        if not order.argv:
            raise MisuseError("an order needs a command")
        told = (order, job_dir, on_started, on_log)
        if order.domains:
            lent, outside = self._lent, self._outside
            end = await self.run_reaching(*told, lent=lent, outside=outside)
        else:
            end = await self._run(*told)
        if end.exit_code is None and end.limit is None:
            # It may be the job's fault, or the engine's: the next probe finds out.
            self.in_doubt |= self._held.pop(order.engine, None) is not None
        return end

    async def run_reaching(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None = None,
        on_log: OnLog | None = None,
        *,
        lent: tuple[str, ...],
        outside: "Outside | None",
    ) -> RunEnd:
        """Run one order that has a way to those of its domains that are lent."""
        if order.engine != "process":
            return RunEnd(exit_code=None, reason=_NO_WAY_OUT)
        # Imported here: few jobs reach anything, and a parser of HTTP takes its time.
        from nunet_node.executors.proxy import gate  # noqa: PLC0415

        async with gate.opened_gate(order.domains, lent, outside) as way:
            end = await self._run(order, job_dir, on_started, on_log, way.door)
        return replace(end, reached=way.reached())

    async def _run(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None,
        on_log: OnLog | None,
        door: int | None = None,
    ) -> RunEnd:
        if order.secrets and order.engine == "container":
            return RunEnd(exit_code=None, reason=NO_SECRETS)
        with contextlib.ExitStack() as stack:
            try:
                order = replace(order, nodes=self._nodes(order, stack))
                if order.engine == "container":
                    return await self._contained(order, job_dir, on_started, on_log)
                program = await self._program(order, job_dir)
                root = await self._root(order, job_dir, stack)
                group, ready = await self._seat(order, program, stack)
                if group is not None:
                    # The kernel takes its time; nobody waits for it but `remove`.
                    job_dir.groups.append(group)
                launch = engines.launch(
                    order, job_dir, program, stack, group, root, door=door
                )
                watched = await supervise(
                    launch.request,
                    bounds=engines.bounds(order, program),
                    job_dir=job_dir,
                    group=group,
                    given=launch.given,
                    ready=ready,
                    on_started=on_started,
                    on_log=on_log,
                )
                return engines.ending(order, launch, watched)
            except (PeerError, OSError) as error:
                return RunEnd(exit_code=None, reason=f"not started: {error}")

    async def collect(
        self, job_dir: JobDir, globs: tuple[str, ...], *, bytes_max: int, files_max: int
    ) -> Collected | OutputsRefused:
        """Find the outputs of a run that has ended; see `collect_outputs`."""
        return await trio.to_thread.run_sync(
            lambda: collecting.collect_outputs(
                job_dir, globs, bytes_max=bytes_max, files_max=files_max
            )
        )

    async def remove(self, job_dir: JobDir) -> None:
        """Delete a job's directory and control groups, and free its user id."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(jobdir.remove_job_dir, job_dir)

    def _nodes(self, order: RunOrder, stack: contextlib.ExitStack) -> tuple[str, ...]:
        """Return what in /dev the job is given, and hold it until the stack ends."""
        nodes = stack.enter_context(self.devices.held(order.gpus))
        return tuple(node for node in nodes if Path(node).exists())

    async def _contained(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None,
        on_log: OnLog | None,
    ) -> RunEnd:
        try:
            if self._containers is None:
                raise EngineError(_NO_SOCKET)
            return await self._containers.run(order, job_dir, on_started, on_log)
        except (PeerError, OSError) as error:
            return RunEnd(exit_code=None, reason=f"not started: {error}")

    async def _root(
        self, order: RunOrder, job_dir: JobDir, stack: contextlib.ExitStack
    ) -> Path | None:
        """Return the unpacked root that a process brought, kept until it ends."""
        if order.engine != "process" or not order.image:
            return None
        if order.image not in job_dir.inputs:
            raise InputPathError(f"image {order.image!r} is not among the inputs")

        def unpacked() -> Path:
            source = stack.enter_context(
                os.fdopen(job_dir.open_file(order.image), "rb")
            )
            return stack.enter_context(self._images.root_of(source))

        return await trio.to_thread.run_sync(unpacked)

    async def _program(self, order: RunOrder, job_dir: JobDir) -> Path:
        """Return what the child loads: bubblewrap, or a compiled module."""
        if order.engine == "process":
            if self._bwrap is not None:
                return self._bwrap
            return await trio.to_thread.run_sync(self._reachable_bwrap)
        if order.engine == "python":
            return await self._modules.python()
        source = await trio.to_thread.run_sync(_module_bytes, job_dir, order.argv[0])
        return await self._modules.user_module(source, order.wall_s)

    async def _seat(
        self, order: RunOrder, program: Path, stack: contextlib.ExitStack
    ) -> tuple[ControlGroup | None, Ready | None]:
        """Return where a job runs: its limited group, and a child that waits in it."""
        limits = engines.group_limits(order, program)
        ready = None if self._warm is None else await self._warm.take()
        if ready is not None:
            stack.callback(ready.dismiss)
            if ready.group is None or ready.group.limit(limits):
                return ready.group, ready
            ready.dismiss()
            ready.group.remove_patiently()
        return cgroups.limited(limits) if self._control_groups else None, None

    def _named_group(self) -> ControlGroup | None:
        return cgroups.named() if self._control_groups else None

    def _reachable_bwrap(self) -> Path:
        if self._bwrap is None:
            found = bubblewrap.find()
            if found is None:
                raise FileNotFoundError("bubblewrap is not installed")
            privileged = os.geteuid() == 0
            self._bwrap = (
                bubblewrap.reachable(found, self._scratch) if privileged else found
            )
        return self._bwrap

    async def _probe_one(self, engine: Engine, *, thorough: bool) -> Capability:
        if engine == "python" and not self._modules.python_ready():
            installed = await trio.to_thread.run_sync(find_python) is not None
            detail = "not compiled yet" if installed else "not installed"
            return unready(engine, f"CPython for WASI is {detail}")
        if engine == "container" and not (self._prepared or thorough):
            waits = self._containers is not None
            found = unready(engine, "not tried yet" if waits else _NO_SOCKET)
            return replace(found, waits=waits)
        if engine == "container" and self._containers is not None and not self._swept:
            try:
                await self._containers.sweep(self._scratch)
            except PeerError as error:
                return unready(engine, str(error))
            self._swept = True
        found = await examine(self, engine, thorough=thorough)
        if engine != "process" or not found.ready or not (self._lent or thorough):
            return found
        gap = await why_not_reaching(self)
        return replace(found, http=not gap, http_gap=gap)


def _containers(socket: Path) -> "Containers":
    # Imported here: the HTTP client takes a tenth of a second to load.
    from nunet_node.executors.container.run import Containers  # noqa: PLC0415

    return Containers(socket)


def _module_bytes(job_dir: JobDir, relpath: str) -> bytes:
    """Read the module out of the job directory, which only the node has written."""
    descriptor = job_dir.open_file(relpath)
    with os.fdopen(descriptor, "rb") as source:
        return source.read(MODULE_BYTES_MAX + 1)


def own_scratch(scratch: Path) -> Path:
    """Make a directory for jobs if need be, and return it.

    Raises:
        ScratchError: somebody else owns it, or could write there.
    """
    privileged = os.geteuid() == 0
    scratch.mkdir(mode=0o711 if privileged else 0o700, parents=True, exist_ok=True)
    seen = scratch.stat(follow_symlinks=False)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise ScratchError(f"{scratch} must be a directory of ours")
    if seen.st_mode & 0o022:
        raise ScratchError(f"{scratch} must not be writable by others")
    return scratch
