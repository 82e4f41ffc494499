"""The runner: what a cluster starts on one of its machines in the place of a job.

It dials the provider that its ticket names, is told what to run, and runs it with the
executors of a single machine, sandbox and limits included. Rule: when the provider is
gone, or the cluster asks it to end, the job is killed before the runner ends; when
the runner is killed, the kernel kills the job.
"""

import argparse
import contextlib
import hashlib
import logging
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.cluster.link import (
    PIECE_BYTES_MAX,
    Ended,
    Examine,
    Examined,
    File,
    Go,
    Left,
    Link,
    LinkLostError,
    Started,
    Stop,
    Stopped,
    Unable,
    Word,
    Work,
    Wrote,
)
from nunet_node.executors.cluster.port import TICKET_VARIABLE
from nunet_node.executors.cluster.rendezvous import dial, read_ticket
from nunet_node.executors.collect import OutputsRefused
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.local import LocalExecutors, own_scratch
from nunet_node.executors.port import Capability, Engine, RunOrder
from nunet_node.executors.sandbox.given import VARIABLE, given
from nunet_node.executors.sandbox.nvml import find_devices

DISK_SHARE_PERCENT: Final = 50
"""Of what is free where jobs run; several may run on one machine."""
EXIT_LOST: Final = 75
"""Exit status of a runner that has no provider (EX_TEMPFAIL of sysexits.h)."""
TRIES_MAX: Final = 2
"""How often an engine is tried before a job: other work on the machine may keep a
guest of ours from starting, which breaks nothing and shows nothing."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
REASON_CHARS_MAX: Final = 1500
"""Longest reason told; what breaks an engine may say much."""

_log = logging.getLogger("nunet_node.executors.cluster.runner")


class UnableError(PeerError):
    """The runner cannot do what its provider wants; no job of it is alive."""

    code = "executor.runner"


@dataclass(slots=True, kw_only=True, eq=False)
class Runner:
    """What one runner does for its provider, from its first word to its last."""

    link: Link
    executors: LocalExecutors
    cache: Path
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """What is cancelled to kill the job."""
    why: PeerError | OSError | None = None
    """Why it was cancelled, other than at the provider's word."""
    news: trio.Event = field(default_factory=trio.Event)
    """Set when the job has begun, has written or has ended."""
    begun: bool = False
    ended: bool = False

    async def serve(self) -> None:
        """Do what the provider says.

        Raises:
            LinkLostError: it is gone; nothing of its job is alive.
        """
        async with self.link.beating():
            try:
                await self._do(await self.link.receive())
            except LinkLostError:
                raise
            except (PeerError, OSError) as error:
                await self.link.send(Unable(reason=str(error)[:REASON_CHARS_MAX]))

    async def _do(self, word: Word) -> None:
        if isinstance(word, Examine):
            await self.link.send(await self._examined(thorough=word.thorough))
        elif isinstance(word, Work):
            await self._work(word.order)
        else:
            raise LinkLostError(f"{type(word).__name__} was not expected")

    async def _examined(self, *, thorough: bool) -> Examined:
        with contextlib.suppress(PeerError):
            # Where it fails, the probe says what is missing.
            await self.executors.prepare()
        found = await self._probed(thorough=thorough)
        free = shutil.disk_usage(self.cache).free
        return Examined(
            capabilities=found,
            architecture=platform.machine(),
            disk_bytes=free * DISK_SHARE_PERCENT // 100,
        )

    def _with_devices(self, order: RunOrder) -> RunOrder:
        """Hold ready what the cluster gave, and tell the job of it.

        Raises:
            DevicesError: it is not what was promised.
        """
        if not order.gpus:
            return order
        found = given(order.gpus, os.environ, find_devices())
        self.executors.devices.present = found.devices
        # What the job says of itself counts more.
        return replace(order, env=((VARIABLE, found.visible), *order.env))

    async def _work(self, order: RunOrder) -> None:
        order = self._with_devices(order)
        job_dir = await self.executors.open_job(order.job, 1)
        try:
            if await self._inputs_came(job_dir):
                await self._run_while_wanted(order, job_dir)
            else:
                await self.link.send(Stopped())
        finally:
            await self.executors.remove(job_dir)

    async def _require(self, engine: Engine) -> None:
        """Let no job into an engine that was not attacked on this very machine."""
        if self._mark(engine).exists():
            return
        if engine == "python":
            await self.executors.compile_python()
        detail = ""
        for _ in range(TRIES_MAX):
            found = {each.engine: each for each in await self._probed()}
            if found[engine].ready:
                return
            detail = found[engine].detail
        raise UnableError(f"engine {engine} does not hold here: {detail}")

    async def _probed(self, *, thorough: bool = False) -> tuple[Capability, ...]:
        found = await self.executors.probe(thorough=thorough)
        for each in found:
            if each.ready:
                self._mark(each.engine).touch()
        return found

    def _mark(self, engine: Engine) -> Path:
        """Return the file that tells that an engine held since this machine booted."""
        here = f"{_BOOT_ID.read_text()} {version('nunet-node')} {os.geteuid()}"
        digest = hashlib.sha256(here.encode()).hexdigest()[:16]
        return self.cache / f"held-{engine}-{digest}"

    async def _inputs_came(self, job_dir: JobDir) -> bool:
        """Take the inputs; False if the provider has thought better of it."""
        while True:
            word = await self.link.receive()
            if isinstance(word, File):
                with job_dir.writing(word.path, executable=word.executable) as target:
                    await self.link.receive_file(word, target)
            elif isinstance(word, Go | Stop):
                return isinstance(word, Go)
            else:
                raise LinkLostError(f"{type(word).__name__} was not expected")

    async def _run_while_wanted(self, order: RunOrder, job_dir: JobDir) -> None:
        """Run the job for as long as the provider is there and wants it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey)
            with self.scope:
                try:
                    await self._run(order, job_dir)
                except (PeerError, OSError) as error:
                    self._end(error)
            nursery.cancel_scope.cancel()
        if self.why is not None:
            raise self.why
        if self.scope.cancelled_caught:
            await self.link.send(Stopped())

    async def _obey(self) -> None:
        try:
            word = await self.link.receive()
        except LinkLostError as error:
            self._end(error)
        else:
            known = isinstance(word, Stop)
            self._end(None if known else LinkLostError("an unexpected word"))

    def _end(self, why: PeerError | OSError | None) -> None:
        self.why = self.why or why
        self.scope.cancel()

    async def _run(self, order: RunOrder, job_dir: JobDir) -> None:
        await self._require(order.engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, job_dir)
            end = await self.executors.run(
                order, job_dir, self._has_begun, self._has_written
            )
            self.ended = True
            self.news.set()
        await self.link.send(Ended(end=end))
        await self.link.send(await self._outputs_sent(order, job_dir))

    async def _outputs_sent(self, order: RunOrder, job_dir: JobDir) -> Left:
        found = await self.executors.collect(
            job_dir,
            order.outputs,
            bytes_max=order.output_bytes_max,
            files_max=order.files_max,
        )
        if isinstance(found, OutputsRefused):
            return Left(refused=found)
        for file in found.files:
            source = job_dir.open_file(file.path)
            await self.link.send_file(file.path, source, executable=file.executable)
        return Left(skipped=found.skipped, skipped_more=found.skipped_more)

    def _has_begun(self) -> None:
        self.begun = True
        self.news.set()

    def _has_written(self, _stream: str, _data: bytes) -> None:
        self.news.set()

    async def _tell(self, job_dir: JobDir) -> None:
        """Tell of the start and of what is written, until the job has ended.

        What was not sent yet lies in files, so that a slow network fills no memory.
        """
        try:
            with (
                job_dir.stdout_path.open("rb") as stdout,
                job_dir.stderr_path.open("rb") as stderr,
            ):
                await self._tell_of(stdout, stderr)
        except (LinkLostError, OSError) as error:
            self._end(error)

    async def _tell_of(self, stdout: BinaryIO, stderr: BinaryIO) -> None:
        told = False
        while True:
            self.news, ended = trio.Event(), self.ended
            if self.begun and not told:
                told = True
                await self.link.send(Started())
            while data := stdout.read(PIECE_BYTES_MAX):
                await self.link.send(Wrote(stream="stdout", data=data))
            while data := stderr.read(PIECE_BYTES_MAX):
                await self.link.send(Wrote(stream="stderr", data=data))
            if ended:
                return
            await self.news.wait()


def main() -> None:
    """Run what the ticket in the environment leads to."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    parser = argparse.ArgumentParser(prog="runner", description=__doc__)
    usual = Path(tempfile.gettempdir()) / f"nunet-node-runner-{os.geteuid()}"
    parser.add_argument(
        "--scratch", type=Path, default=usual, help="where jobs run on this machine"
    )
    given = parser.parse_args()
    # Nothing that runs in here has any use for it.
    ticket = os.environ.pop(TICKET_VARIABLE, "")
    sys.exit(trio.run(_attend, ticket, given.scratch))


async def _attend(ticket: str, top: Path) -> int:
    """Serve the provider until it is done with us, or somebody ends us."""
    code = EXIT_LOST
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def end_at_a_signal() -> None:
                await anext(signals)
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_at_a_signal)
            code = await _served(ticket, top)
            nursery.cancel_scope.cancel()
    return code


async def _served(ticket: str, top: Path) -> int:
    try:
        link = await dial(read_ticket(ticket), socket.gethostname())
    except PeerError as error:
        _log.warning("%s", error)
        return EXIT_LOST
    try:
        executors = LocalExecutors(own_scratch(top) / "jobs", top / "cache")
        executors.sweep()
        await Runner(link=link, executors=executors, cache=top / "cache").serve()
    except LinkLostError as error:
        _log.warning("the provider is gone: %s", error)
        return EXIT_LOST
    except (PeerError, OSError) as error:
        with contextlib.suppress(LinkLostError):
            await link.send(Unable(reason=str(error)[:REASON_CHARS_MAX]))
        return EXIT_LOST
    finally:
        await link.aclose()
    return 0


if __name__ == "__main__":
    main()
