"""One run of one job on a machine of a cluster, from the provider's side.

Rule: a run ends with the word of the runner that did it, or it is lost. What the
cluster says of a job counts only while no runner has come, because until then nothing
of the job was anywhere; from then on the connection is the witness. Leaving a run, by
whatever way, leaves nothing of it alive that could still be reached.
"""

import contextlib
import logging
import os
import stat
from dataclasses import dataclass, field
from io import FileIO
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.cluster.link import (
    Ended,
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
from nunet_node.executors.cluster.port import (
    Cluster,
    ClusterError,
    ClusterRefusedError,
)
from nunet_node.executors.cluster.rendezvous import Meeting
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import RunEnd, RunOrder
from nunet_node.executors.supervise import OnLog, OnStarted

POLL_S: Final = 2
"""How often a cluster is asked about a job whose runner has not come."""
SILENT_POLLS_MAX: Final = 30
"""Questions in a row that a cluster may leave unanswered: a minute of its restart."""
ENDED_POLLS_MAX: Final = 3
"""Looks at a job that has ended without its runner having come: a short job's runner
may be on its way in."""
STOP_S: Final = 10
"""Longest wait for a runner to kill its job; the kernel takes milliseconds."""
STOP_POLL_MS: Final = 200
FORCED_STOP_S: Final = 40
"""Longest wait for a cluster to end a job by force: it asks first, for as long as its
own configuration says, usually 30 s."""
WALL_GRACE_S: Final = 60
"""How much later than its runner the provider itself ends a job that has used all its
time; only a runner that does not keep time needs it."""

_log = logging.getLogger("nunet_node.executors.cluster.visit")


class LostError(PeerError):
    """The run is lost, and may be tried again."""

    code = "executor.lost"


async def runner_came(
    cluster: Cluster, handle: str, meeting: Meeting, pending_s: int
) -> Link:
    """Wait for a job's runner, as long as there is hope.

    Raises:
        ClusterRefusedError: the cluster will never run it.
        LostError: the job ended, the cluster is silent, or the time is over.
    """
    hopeless: list[PeerError] = []

    async def watch(scope: trio.CancelScope) -> None:
        with trio.move_on_after(pending_s):
            hopeless.append(await _given_up(cluster, handle))
        hopeless.append(LostError(f"the cluster had no room for it in {pending_s} s"))
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        await meeting.arrived()
        nursery.cancel_scope.cancel()
    if meeting.link is None:
        raise hopeless[0]
    return meeting.link


async def _given_up(cluster: Cluster, handle: str) -> PeerError:
    """Ask the cluster until it will not run the job, has run it, or is silent."""
    silent = ended = 0
    while True:
        await trio.sleep(POLL_S)
        try:
            state = await cluster.state(handle)
        except ClusterError as error:
            silent += 1
            if silent >= SILENT_POLLS_MAX:
                return LostError(f"the cluster does not answer: {error}")
            continue
        silent, detail = 0, state.detail
        if state.never:
            return ClusterRefusedError(f"the cluster will not run it: {detail}")
        ended += state.phase == "ended"
        if ended >= ENDED_POLLS_MAX:
            return LostError(f"its runner never reported: {detail}")


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """A run that has been handed to a cluster."""

    cluster: Cluster
    handle: str
    meeting: Meeting
    order: RunOrder
    job_dir: JobDir
    pending_s: int
    on_started: OnStarted | None = None
    on_log: OnLog | None = None
    link: Link | None = None
    over: bool = False
    """The runner has told the end: nothing of the job is alive."""
    left: Left | None = None
    end: RunEnd | None = None
    started: trio.Event = field(default_factory=trio.Event)
    log_bytes: int = 0
    output_bytes: int = 0
    output_files: int = 0

    async def run(self) -> RunEnd:
        """See it to its end; cancelled, return when nothing of it is alive."""
        try:
            return await self._ran()
        except ClusterRefusedError as error:
            return RunEnd(exit_code=None, reason=f"not started: {error}")
        except (PeerError, OSError) as error:
            return RunEnd(exit_code=None, limit="lost", reason=str(error))
        finally:
            with trio.CancelScope(shield=True):
                await self._let_go()

    async def _ran(self) -> RunEnd:
        self.link = await runner_came(
            self.cluster, self.handle, self.meeting, self.pending_s
        )
        try:
            return await self._talked(self.link)
        except LinkLostError as error:
            why = await self._last_words()
            raise LostError(f"{self.link.machine} was lost: {error}{why}") from None

    async def _talked(self, link: Link) -> RunEnd:
        async with link.beating() as nursery:
            nursery.start_soon(self._hand_over, link)
            nursery.start_soon(self._expire, link)
            await self._listen(link)
        if self.end is None:
            raise LostError("its runner told no end")
        return self.end

    async def _listen(self, link: Link) -> None:
        with contextlib.ExitStack() as stack:
            logs = {
                "stdout": stack.enter_context(self.job_dir.stdout_path.open("ab", 0)),
                "stderr": stack.enter_context(self.job_dir.stderr_path.open("ab", 0)),
            }
            while self.left is None:
                word = await link.receive()
                if isinstance(word, Wrote):
                    self._keep_log(word, logs[word.stream])
                else:
                    await self._take(link, word)

    async def _take(self, link: Link, word: Word) -> None:
        match word:
            case Started():
                self.started.set()
                if self.on_started is not None:
                    self.on_started()
            case Ended(end=end):
                self.over, self.end = True, end
                await trio.to_thread.run_sync(self.job_dir.empty)
            case File():
                await self._take_file(link, word)
            case Left():
                self.left = word
            case Unable(reason=reason):
                self.over = True
                raise LostError(f"{link.machine} could not run it: {reason}")
            case _:
                raise LinkLostError(f"{type(word).__name__} was not expected")

    async def _take_file(self, link: Link, head: File) -> None:
        self.output_files += 1
        self.output_bytes += head.size_bytes
        too_many = self.output_files > self.order.files_max
        if self.end is None or too_many or self.output_bytes > self.order.disk_bytes:
            raise LinkLostError("more files came than the job may leave")
        with self.job_dir.writing(
            head.path, executable=head.executable, is_input=False
        ) as target:
            await link.receive_file(head, target)

    def _keep_log(self, word: Wrote, target: FileIO) -> None:
        room = self.order.log_bytes_max - self.log_bytes
        self.log_bytes += len(word.data)
        if len(word.data) > room:
            raise LinkLostError("more came on its streams than the job may write")
        target.write(word.data)
        if self.on_log is not None:
            self.on_log(word.stream, word.data)

    async def _hand_over(self, link: Link) -> None:
        """Send the order and its inputs; who receives is told what goes wrong."""
        with contextlib.suppress(LinkLostError):
            await link.send(Work(order=self.order))
            for path in tuple(self.job_dir.inputs):
                descriptor = self.job_dir.open_file(path)
                executable = _is_executable(descriptor)
                await link.send_file(path, descriptor, executable=executable)
            await link.send(Go())

    async def _expire(self, link: Link) -> None:
        """End a runner that does not keep time, and be told that it is lost."""
        await self.started.wait()
        await trio.sleep(self.order.wall_s + WALL_GRACE_S)
        if not self.over:
            await link.aclose()

    async def _last_words(self) -> str:
        """Return what the cluster has to say of a job whose runner went away."""
        with trio.move_on_after(POLL_S), contextlib.suppress(ClusterError):
            state = await self.cluster.state(self.handle)
            return f" ({state.detail})" if state.phase == "ended" else ""
        return ""

    async def _let_go(self) -> None:
        """Leave nothing of it alive; what no runner has come for never will be."""
        if self.over:
            return
        try:
            if self.link is not None and await self._killed(self.link):
                return
            await self.cluster.stop(self.handle)
            if self.meeting.link is not None:
                await self._seen_dead()
        except ClusterError as error:
            # A runner ends by itself when it does not hear from us.
            _log.warning("job %s of the cluster may be alive: %s", self.handle, error)

    async def _killed(self, link: Link) -> bool:
        """Ask the runner to kill its job; tell whether it has said that it did."""
        with trio.move_on_after(STOP_S), contextlib.suppress(LinkLostError):
            await link.send(Stop())
            while not isinstance(await link.receive(), Stopped):
                pass
            return True
        return False

    async def _seen_dead(self) -> None:
        """Wait until the cluster itself says that it has ended."""
        for _ in range(FORCED_STOP_S * 1000 // STOP_POLL_MS):
            if (await self.cluster.state(self.handle)).phase == "ended":
                return
            await trio.sleep(STOP_POLL_MS / 1000)
        raise ClusterError(f"it has not ended within {FORCED_STOP_S} s")


def _is_executable(descriptor: int) -> bool:
    return bool(os.fstat(descriptor).st_mode & stat.S_IXUSR)
