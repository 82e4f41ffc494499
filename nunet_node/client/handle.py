"""One job in the hands of whoever wants it.

Rule: waiting is waiting for news; nothing is asked twice to find out whether it has
changed. What the record of the order says is the truth here, and the news only say
when to look at it again.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from nunet_node.client.asking import Question, Questions
from nunet_node.client.errors import (
    ClientError,
    ProviderUnreachableError,
    refused,
)
from nunet_node.client.fetching.collecting import collect
from nunet_node.client.fetching.copies import Copy, OnElsewhere
from nunet_node.client.logs import LogReader, OnCopy
from nunet_node.jobs.lifecycle import STARTED, State
from nunet_node.jobs.specification import JobId, ResultKind
from nunet_node.jobs.statements import Confirmation, Notice, Report
from nunet_node.network.port import NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.effects import (
    CancelConfirmed,
    CommandRefused,
    News,
    OrderChanged,
    ProviderUnreachable,
)
from nunet_node.protocol.inputs import (
    CancelWanted,
    ResultWritten,
)
from nunet_node.protocol.messages import CANCEL
from nunet_node.protocol.order import Order
from nunet_node.runtime.exchange.bulk.gathering import Listener, OnDropped
from nunet_node.runtime.exchange.fetching import Progress
from nunet_node.runtime.exchange.logs import Follow
from nunet_node.runtime.peer import Peer

CATCH_UP_S: Final = 5
"""How long a command waits for what its job's provider said before: two slow dials."""

OnEvent = Callable[[News], None]


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Some of what a job wrote."""

    stream: str
    """``stdout`` or ``stderr``."""
    data: bytes


class JobHandle:
    """A job: watch it, read it, cancel it. Made by `Client`."""

    def __init__(self, peer: Peer, job: JobId, on_event: OnEvent | None) -> None:
        self.job = job
        self._peer = peer
        self._on_event = on_event
        self._changed = trio.Event()
        self._questions = Questions(peer, job)
        self._told = _place(self.order.notice)
        self._silence = ""

    @property
    def order(self) -> Order:
        """What is known of the job here and now."""
        return self._peer.orders.get(self.job) or Order(job=self.job)

    def hear(self, news: News) -> None:
        """Take news about this job; the client calls it."""
        self._questions.hear(news)
        if isinstance(news, ProviderUnreachable | OrderChanged):
            self._silence = _silence(news, self.order)
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self._on_event is not None and self._is_new(news):
            self._on_event(news)

    @property
    def attempt(self) -> int:
        """The newest attempt that is known of; 0 before the first."""
        return _attempt(self.order)

    async def placed(self) -> Order:
        """Wait until a provider has the job and all it needs, or it has ended.

        From then on nothing depends on this process. A provider that accepted it and
        fell silent ends the waiting, too: see `ended_or_silent`.
        """
        await self._until(
            lambda order: order.ended or _handed(order) or bool(self._silence)
        )
        return self.verdict

    async def started(self) -> Order:
        """Wait until the job runs, or has ended."""
        return await self._until(lambda order: order.ended or order.state in STARTED)

    async def ended(self) -> Order:
        """Wait until the job has ended for good; return its record then."""
        return await self._until(lambda order: order.ended)

    async def ended_or_silent(self) -> Order:
        """Wait until the job has ended, or its provider has been silent for long.

        Returns:
            The job's record. If it is silence that ended the waiting, the record as
            it would be if the job were lost; what is kept stays as it was, for the
            provider may come back with the job.
        """
        await self._until(lambda order: order.ended or bool(self._silence))
        return self.verdict

    @property
    def verdict(self) -> Order:
        """What is to be said of the job if nobody waits for it any longer."""
        order = self.order
        if order.ended or not self._silence:
            return order
        reason = f"its provider is silent ({self._silence}), and may still have it"
        return replace(order, state=State.LOST, reason=reason, queue=None)

    async def follow(self) -> None:
        """Keep the job going from here: watch it, and retry it where allowed.

        Raises:
            UnknownJobError: it was not submitted here, and its provider has no such
                job, or it is not ours.
            ProviderUnreachableError: as above, and the provider does not answer.
        """
        if self.order.spec is None:
            await self.report()
        await self._peer.follow(self.job)

    async def catch_up(self, report: Report | None = None) -> None:
        """Keep what the provider has said of the job while nobody here listened.

        Waits `CATCH_UP_S` at most. What cannot be had stays as it was known last.

        Args:
            report: where the job stands, if the provider was asked just now.
        """
        order = self.order
        if order.ended or order.spec is None or not order.in_custody:
            return
        with trio.move_on_after(CATCH_UP_S), suppress(ClientError):
            told = report or await self.report()
            newest = (told.attempt, told.sequence)
            if _place(order.notice) < newest:
                await self._peer.follow(self.job)
                await self._until(
                    lambda order: order.ended or _place(order.notice) >= newest
                )

    async def report(self, on_silence: Callable[[], None] = lambda: None) -> Report:
        """Ask the job's provider where it stands.

        Args:
            on_silence: called if it has not answered for some seconds.

        Raises:
            UnknownJobError: it has no such job, or it is not ours.
            ProviderUnreachableError: it does not answer.
        """
        return await self._questions.report(on_silence)

    async def copies(self) -> Sequence[Copy]:
        """Return who keeps a copy of the result, by asking those who may.

        At most as many as its owner wanted are sought, and those that are silent only
        for a while, so that there may be more.

        Raises:
            NoNetworkError: nobody is heard who might have one.
        """
        return await self._questions.holding()

    async def logs(
        self,
        *,
        follow: bool = True,
        skip: Mapping[str, int] | None = None,
        since_s: int = 0,
        on_copy: OnCopy = lambda _copy: None,
    ) -> AsyncGenerator[LogPiece, None]:
        """Yield what the newest attempt wrote; with ``follow``, until its end.

        Args:
            follow: whether to wait for what is still to come.
            skip: how many bytes of ``stdout`` and of ``stderr`` to leave out.
            since_s: leave out what was written before this unix time, as far as the
                provider remembers when that was.
            on_copy: called with each copy that is read because the provider does not
                answer.

        Raises:
            LogsCutOffError: the provider does not answer, and what a copy has was
                yielded; there may be more.
            LogTamperedError: they are not what the provider signed.
            UnknownJobError: the provider has no such job, or it is not ours.
            ProviderUnreachableError: it does not answer.
        """
        asked = Follow(
            job=self.job,
            attempt=1,
            stdout_from=skip.get("stdout", 0) if skip else 0,
            stderr_from=skip.get("stderr", 0) if skip else 0,
            follow=follow,
            since_s=since_s,
        )
        reader = LogReader(self._peer, self.order, self._questions, on_copy)
        async with aclosing(reader.pieces(asked)) as pieces:
            async for stream, data in pieces:
                yield LogPiece(stream, data)

    async def output(self) -> AsyncGenerator[LogPiece, None]:
        """Yield what the job writes, over every attempt and every lost connection.

        Ends with the job; only of use while the job is followed or was submitted here.

        Raises:
            UnknownJobError: the provider has no such job, or it is not ours.
        """
        shown = 0
        at = dict.fromkeys(("stdout", "stderr"), 0)
        while True:
            await self._until(partial(_writes_after, shown))
            attempt, order = self.attempt, self.order
            if attempt == shown or (order.ended and not order.in_custody):
                return
            try:
                async with aclosing(self.logs(skip=at)) as pieces:
                    async for piece in pieces:
                        yield piece
                        at[piece.stream] += len(piece.data)
            except (ProviderUnreachableError, NetworkError, StreamBroken):
                if self.order.ended:
                    return
                # News come when it is tried again, and when the custodian is back.
                await self._changed.wait()
            else:
                shown, at = attempt, dict.fromkeys(at, 0)

    async def fetch(
        self,
        target: Path,
        on_progress: Progress = lambda _done, _total: None,
        *,
        on_dropped: OnDropped = lambda _peer_id, _why: None,
        on_elsewhere: OnElsewhere = lambda _where: None,
    ) -> Path:
        """Fetch the result, verify every block, and write it to ``target``.

        It comes from its provider and from whoever keeps copies, at the same time,
        and after a break it goes on where it was. Of what is here already nothing is
        fetched again; if that is all, nobody is asked.

        Args:
            target: a directory that does not exist or is empty; nothing appears
                there until everything is verified.
            on_progress: called with the bytes that have come, and all there are.
            on_dropped: called with a peer that sent wrong bytes, and what it was.
            on_elsewhere: told where it comes from, if that is not its provider, and
                that its provider is silent.

        Raises:
            ResultMissingError: there is none, or not yet; says what the state is.
            UnknownJobError: the provider has no such job, or it is not ours.
            ProviderUnreachableError: it does not answer.
            SealError: the result is sealed, and not to anybody whose key is here.
            PeerError: the target is taken, or a block does not verify.
        """
        listener = Listener(on_progress=on_progress, on_dropped=on_dropped)
        await collect(
            self._peer, self._questions, self.order, target, listener, on_elsewhere
        )
        path = Path.cwd() / target
        await self._peer.tell(ResultWritten(job=self.job, path=str(path)))
        return path

    async def fetch_for_now(self, target: Path) -> None:
        """Fetch the result to a place that will not last: nothing notes where it is.

        Raises:
            ClientError, PeerError: as `fetch`.
        """
        await collect(
            self._peer, self._questions, self.order, target, Listener(), lambda _: None
        )

    async def public_name(self) -> str | None:
        """Return the id under which IPFS tools know a fetched result; None if sealed.

        Raises:
            PeerError: it was not fetched here, or has no such form.
        """
        order = self.order
        public = order.spec is not None and order.spec.results is ResultKind.PUBLIC
        if not public or order.result is None:
            return None
        return await self._peer.transfers.public_name(order.result)

    async def cancel(self) -> Confirmation | None:
        """Cancel the job and wait for the provider's signed confirmation.

        Returns:
            The confirmation; None if no provider ever had the job.

        Raises:
            UnknownJobError: the provider has no such job, or it is not ours.
            CommandRefusedError: it refuses.
            ProviderUnreachableError: it has been silent for long. Then, as after a
                refusal, the wish is kept and sent again whenever the job is driven
                from this home.
        """
        if self.order.confirmation is not None:
            return self.order.confirmation
        question = Question(CANCEL, CancelConfirmed)
        self._questions.begin(question)
        try:
            await self._peer.tell(CancelWanted(job=self.job))
            while not self._cancel_is_over(question):
                await self._changed.wait()
        finally:
            self._questions.end(question)
        return self.order.confirmation

    def _is_new(self, news: News) -> bool:
        """Tell whether nobody was told yet; records are read again and again."""
        if self._questions.is_aside(news):
            return False
        if not isinstance(news, OrderChanged) or news.notice is None:
            return True
        before, self._told = self._told, max(self._told, _place(news.notice))
        return before < self._told

    def _cancel_is_over(self, question: Question) -> bool:
        order, answer = self.order, question.answer
        if order.ended and not order.in_custody:
            # Whoever was to have it has never heard of it, which is all we wanted.
            return True
        if isinstance(answer, CommandRefused):
            raise refused(self.job, answer.refusal)
        if isinstance(answer, ProviderUnreachable) and answer.lost:
            raise ProviderUnreachableError(
                f"{answer.provider} cannot be reached ({answer.reason}); the cancel is "
                "kept, and sent again by `nunet-node cancel` or a running "
                "`nunet-node up` on this home"
            )
        return order.confirmation is not None

    async def _until(self, done: Callable[[Order], bool]) -> Order:
        while not done(self.order):
            await self._changed.wait()
        return self.order


def _place(notice: Notice | None) -> tuple[int, int]:
    """Return a notice's place in the order of all notices of its job."""
    return (notice.attempt, notice.sequence) if notice else (0, 0)


def _silence(news: News, order: Order) -> str:
    """Return why a provider counts as lost that still has the job, if it does."""
    if not isinstance(news, ProviderUnreachable) or order.unplaced:
        return ""
    return news.reason if news.lost else ""


def _attempt(order: Order) -> int:
    return max(order.attempt, order.notice.attempt if order.notice else 0)


def _writes_after(attempt: int, order: Order) -> bool:
    """Tell whether a later attempt has begun to write, or nothing is to come."""
    began = order.state in STARTED and _attempt(order) > attempt
    return order.ended or began


def _handed(order: Order) -> bool:
    return order.in_custody and not order.needs_us
