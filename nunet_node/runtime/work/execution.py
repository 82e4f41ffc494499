"""Running what the node orders: from a specification to a stored result.

Rule: every `StartJob` is answered by exactly one `JobExited`, whatever happens in
between, and only after nothing of the job is alive. A job's directory outlives its
run until the node discards it, because storing the result comes later. Nothing of
this survives the process: after a crash the node knows what was under way, and the
directories that are left over are swept.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.collect import Collected, OutputsRefused, collect_outputs
from nunet_node.executors.jobdir import JobDir, remove_job_dir
from nunet_node.executors.port import Executors, RunEnd, RunOrder
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.effects import (
    DiscardScratch,
    StartJob,
    StopJob,
    StoreResult,
)
from nunet_node.protocol.inputs import (
    Input,
    JobExited,
    JobStarted,
    ResultNotStored,
    ResultStored,
)
from nunet_node.quantities import INT53_MAX
from nunet_node.results.layout import (
    EXIT_CODE,
    OUTPUTS,
    STDERR,
    STDOUT,
    exit_code_text,
)
from nunet_node.results.logs.chain import LogHead
from nunet_node.results.manifest import FileEntry
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.exchange.logs import LogBook
from nunet_node.runtime.store.ahead import read_ahead
from nunet_node.runtime.store.chains import LogWriter
from nunet_node.runtime.wallet.secrets import Unsealer
from nunet_node.runtime.work.custody import Custody
from nunet_node.runtime.work.packing import (
    Leaving,
    Packed,
    left_out,
    output_bytes_max,
    pack,
    too_much,
)

LOG_BYTES_MAX: Final = 64 << 20
"""Both streams of a job together; a job that writes more makes files of it."""

OUTPUT_FILES_MAX: Final = 10_000
"""Files in a result: half of what a job's directory may hold."""

WHOLE_INPUT_BYTES_MAX: Final = 16 << 20
"""Largest input that is put together in memory; larger ones take a detour by disk."""

EXIT_CODE_WALL: Final = 124
EXIT_CODE_KILLED: Final = 137
"""What ``exit_code`` says of a job that did not end by itself, as shells do: 124 from
`timeout`, 128 + SIGKILL otherwise."""

Post = Callable[[Input], Awaitable[None]]

NO_OUTPUTS: Final = Collected(files=(), skipped=(), skipped_more=0)
"""What is kept of outputs that are more than the job may leave."""

_Key = tuple[JobId, int]

_log = logging.getLogger("nunet_node.runtime.execution")


@dataclass(slots=True, eq=False)
class _Run:
    """One attempt at one job, from its start to the end of its directory."""

    order: StartJob
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    storing: trio.CancelScope = field(default_factory=trio.CancelScope)
    started: trio.Event = field(default_factory=trio.Event)
    quiet: trio.Event = field(default_factory=trio.Event)
    """Set when nothing reads or writes the directory any more."""
    job_dir: JobDir | None = None
    over: bool = False
    log: LogWriter | None = None
    logging: trio.CancelScope = field(default_factory=trio.CancelScope)


class Execution:
    """Carries out the node's orders about jobs, each in a task of ``tasks``."""

    def __init__(
        self,
        executors: Executors,
        custody: Custody,
        book: LogBook,
        unsealer: Unsealer,
        post: Post,
        tasks: trio.Nursery,
    ) -> None:
        self._executors = executors
        self._custody = custody
        self._store = custody.store
        self._book = book
        self._unsealer = unsealer
        self._post = post
        self._tasks = tasks
        self._runs: dict[_Key, _Run] = {}
        self._leaving: dict[_Key, _Run] = {}
        """Discarded, and perhaps not removed when the node stops."""

    def start(self, order: StartJob) -> None:
        """Begin to run a job."""
        run = _Run(order=order)
        self._runs[(order.job, order.attempt)] = run
        self._tasks.start_soon(self._run, order, run)

    def stop(self, order: StopJob) -> None:
        """Begin to kill a job's process tree."""
        run = self._runs.get((order.job, order.attempt))
        if run is not None:
            run.scope.cancel()
        else:
            # Nothing of it runs, and the node must hear so or it waits for ever.
            self._tasks.start_soon(self._post, _exited(order, None))

    def store(self, order: StoreResult) -> None:
        """Begin to collect and keep what a job left."""
        self._tasks.start_soon(self._keep, order)

    def discard(self, order: DiscardScratch) -> None:
        """Begin to remove what a job left; storing it, if under way, ends."""
        key = (order.job, order.attempt)
        run = self._runs.pop(key, None)
        self._book.end(order.job, order.attempt)
        if run is not None:
            self._leaving[key] = run
            run.scope.cancel()
            run.storing.cancel()
            self._tasks.start_soon(self._remove, key, run)

    def abandon(self) -> None:
        """Remove every directory that is left, when no task runs any more. Blocks."""
        for runs in (self._runs, self._leaving):
            for run in runs.values():
                if run.job_dir is not None:
                    with contextlib.suppress(OSError):
                        remove_job_dir(run.job_dir)
            runs.clear()

    async def _run(self, order: StartJob, run: _Run) -> None:
        end: RunEnd | None = None
        try:
            with run.scope:
                end = await self._attempt(order, run)
        finally:
            run.over = True
            run.quiet.set()
        self._book.changed(order.job)
        head = await self._log_head(run, stopped=end is None)
        await self._post(dataclasses.replace(_exited(order, end), log=head))

    async def _log_head(self, run: _Run, *, stopped: bool) -> LogHead | None:
        """Return how far the logs go, if they may be needed without a result."""
        run.logging.cancel()
        if run.log is None or not (stopped or run.log.begun):
            return None
        return await trio.to_thread.run_sync(run.log.finish)

    async def _keep_log(self, log: LogWriter, run: _Run) -> None:
        with run.logging:
            await log.run()

    async def _attempt(self, order: StartJob, run: _Run) -> RunEnd:
        try:
            job_dir = await self._executors.open_job(order.job, order.attempt)
            run.job_dir = job_dir
            self._book.begin(
                order.job, order.attempt, job_dir.stdout_path, job_dir.stderr_path
            )
            sources = (job_dir.stdout_path, job_dir.stderr_path)
            run.log = LogWriter.of(self._custody.chains, self._book, order, sources)
            self._tasks.start_soon(self._keep_log, run.log, run)
            if order.spec.inputs is not None:
                await trio.to_thread.run_sync(self._lay_inputs, order, job_dir)
            return await self._execute(order, run, job_dir)
        except (PeerError, OSError) as error:
            _log.warning("job %s could not be run: %s", order.job, error)
            return RunEnd(exit_code=None, reason=f"could not be started: {error}")
        except Exception:  # noqa: BLE001 - shown in the log
            # A job that finds a bug of ours must not end everybody else's.
            _log.exception("job %s met a bug", order.job)
            return RunEnd(exit_code=None, reason="could not be started: a bug here")

    async def _execute(self, order: StartJob, run: _Run, job_dir: JobDir) -> RunEnd:
        def on_log(_name: str, _data: bytes) -> None:
            self._book.changed(order.job)

        run_order = _run_order(order, self._unsealer.open(order))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_started, order, run)
            try:
                end: RunEnd | Exception = await self._executors.run(
                    run_order, job_dir, run.started.set, on_log
                )
            except Exception as error:  # noqa: BLE001 - raised below, not in a group
                end = error
            if not run.started.is_set():
                nursery.cancel_scope.cancel()
        if isinstance(end, RunEnd):
            return end
        raise end

    async def _say_started(self, order: StartJob, run: _Run) -> None:
        await run.started.wait()
        await self._post(JobStarted(job=order.job, attempt=order.attempt))

    def _lay_inputs(self, order: StartJob, job_dir: JobDir) -> None:
        assert order.spec.inputs is not None  # noqa: S101 - for the type checker
        tree = tree_of(self._store, order.spec.inputs)
        for file in tree.files:
            if file.size_bytes <= WHOLE_INPUT_BYTES_MAX:
                source: bytes | Path = b"".join(map(self._store.get, file.chunks))
            else:
                source = self._assemble(file, job_dir)
            job_dir.add_file(file.path, source, executable=file.executable)
            if isinstance(source, Path):
                source.unlink()

    def _assemble(self, file: FileEntry, job_dir: JobDir) -> Path:
        path = job_dir.root / "assembling"
        coming = read_ahead(self._store.get, len, file.chunks)
        with path.open("xb") as target, contextlib.closing(coming):
            for data in coming:
                target.write(data)
        return path

    async def _keep(self, order: StoreResult) -> None:
        run = self._runs.get((order.job, order.attempt))
        if run is None or run.job_dir is None:
            await self._post(_not_stored(order, "its directory is gone"))
            return
        run.quiet = trio.Event()
        answer: Input | None = None
        try:
            with run.storing:
                answer = await self._stored(order, run, run.job_dir)
        finally:
            run.quiet.set()
        if answer is not None:
            await self._post(answer)

    async def _stored(self, order: StoreResult, run: _Run, job_dir: JobDir) -> Input:
        try:
            return await trio.to_thread.run_sync(self._kept, order, run, job_dir)
        except (PeerError, OSError) as error:
            return _not_stored(order, str(error))
        except Exception:  # noqa: BLE001 - shown in the log
            _log.exception("what job %s left met a bug", order.job)
            return _not_stored(order, "a bug here")

    def _kept(self, order: StoreResult, run: _Run, job_dir: JobDir) -> ResultStored:
        spec = order.spec
        found = collect_outputs(
            job_dir,
            spec.outputs,
            bytes_max=output_bytes_max(spec),
            files_max=OUTPUT_FILES_MAX,
        )
        refused = ""
        if isinstance(found, OutputsRefused):
            # The logs are worth keeping, and tell why there is so much.
            refused, found = too_much(found), NO_OUTPUTS
        stored = self._write_result(order, run, job_dir, found)
        return ResultStored(
            job=order.job,
            attempt=order.attempt,
            root=stored.root,
            size_bytes=stored.size_bytes,
            kept_bytes=stored.kept_bytes,
            sealed_key=stored.sealed_key,
            reason=left_out(found),
            refused=refused,
        )

    def _write_result(
        self, order: StoreResult, run: _Run, job_dir: JobDir, found: Collected
    ) -> Packed:
        code = exit_code_text(_shown_exit_code(order))
        files = [
            *(Leaving.of(f"{OUTPUTS}/{each.path}", each) for each in found.files),
            Leaving(path=STDOUT, source=job_dir.stdout_path),
            Leaving(path=STDERR, source=job_dir.stderr_path),
            Leaving(path=EXIT_CODE, source=code),
        ]
        packed = pack(self._store, files, run.order)
        self._custody.keep_result(order.job, order.attempt, packed.blocks)
        return packed

    async def _remove(self, key: _Key, run: _Run) -> None:
        await run.quiet.wait()
        if run.job_dir is not None:
            try:
                await self._executors.remove(run.job_dir)
            except OSError as error:
                _log.warning("%s stays behind: %s", run.job_dir.root, error)
        self._leaving.pop(key, None)


def _run_order(order: StartJob, secrets: tuple[tuple[str, bytes], ...]) -> RunOrder:
    spec = order.spec
    told = {
        "NUNET_JOB_ID": str(order.job),
        "NUNET_JOB_NAME": spec.name,
        "NUNET_JOB_OWNER": order.owner,
        "NUNET_JOB_ATTEMPT": str(order.attempt),
    }
    return RunOrder(
        job=order.job,
        engine=spec.engine.value,
        argv=spec.command,
        env=tuple({**spec.env, **told}.items()),
        secrets=secrets,
        image=spec.image,
        cpu_millis=spec.resources.cpu_millis,
        memory_bytes=spec.resources.memory_bytes,
        disk_bytes=spec.resources.disk_bytes,
        wall_s=spec.timeouts.run_s,
        output_bytes_max=output_bytes_max(spec),
        log_bytes_max=LOG_BYTES_MAX,
        outputs=spec.outputs,
        gpus=order.gpus,
        domains=spec.network.http,
    )


def _exited(order: StartJob | StopJob, end: RunEnd | None) -> JobExited:
    if end is None:
        return JobExited(
            job=order.job, attempt=order.attempt, exit_code=None, limit="cancelled"
        )
    killed = end.exit_code is None and end.limit and end.limit != "wall"
    return JobExited(
        job=order.job,
        attempt=order.attempt,
        exit_code=EXIT_CODE_KILLED if killed else end.exit_code,
        limit=end.limit or "",
        reason=end.reason or "",
        isolation=end.isolation,
        # Beyond this no record can be read again, whatever an engine may say.
        cpu_ms=min(end.usage.cpu_ms, INT53_MAX),
        memory_peak_bytes=min(end.usage.memory_peak_bytes, INT53_MAX),
        fuel=min(end.usage.fuel, INT53_MAX),
        reached=end.reached,
    )


def _not_stored(order: StoreResult, reason: str) -> ResultNotStored:
    return ResultNotStored(job=order.job, attempt=order.attempt, reason=reason)


def _shown_exit_code(order: StoreResult) -> int:
    if order.exit_code is not None:
        return order.exit_code
    return EXIT_CODE_WALL if order.limit == "wall" else EXIT_CODE_KILLED
