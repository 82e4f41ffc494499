"""Questions about one job, each answered once: by its provider, or by a holder.

Rule: the job's provider is asked first; who keeps a copy is asked only when it cannot
be reached, is silent or has nothing. Holders are found by the job's id alone, in the
order in which its provider chose them.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import trio

from nunet_node.client.errors import (
    ClientError,
    NoNetworkError,
    ProviderUnreachableError,
    ResultMissingError,
    UnknownJobError,
    refused,
)
from nunet_node.client.fetching.copies import (
    HURRY_S,
    LOOK_S,
    PATIENCE_S,
    Copy,
    OnElsewhere,
    ProviderSilent,
    ReadElsewhere,
    ask_in_turn,
)
from nunet_node.identity.did import Did
from nunet_node.identity.keys import AbsentKey
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import LogReceipt, Receipt, Report
from nunet_node.protocol.effects import (
    Challenged,
    CommandRefused,
    LogsGranted,
    News,
    ProviderUnreachable,
    ReadGranted,
    ReportReceived,
)
from nunet_node.protocol.inputs import Input, ReadWanted, ReportWanted
from nunet_node.protocol.messages import LOGS, READ, STATUS
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.choosing import NEAREST_MAX, nearest
from nunet_node.protocol.replicas.events import LogCopyGranted, ReplicaWanted
from nunet_node.runtime.exchange.bulk.gathering import SOURCES_MAX
from nunet_node.runtime.peer import Peer
from nunet_node.wire.cid import Cid

LISTEN_S: Final = 5
"""How long the network is listened to for who keeps copies."""

NOBODY_HEARD: Final = (
    "nobody is heard who might have a copy: name a peer that runs with --bootstrap "
    "MULTIADDR"
)

_A = TypeVar("_A", ReportReceived, LogsGranted, ReadGranted, LogCopyGranted)
_W = TypeVar("_W", bound=Input)


@dataclass(slots=True, eq=False)
class Question:
    """Somebody waits for the answer to one wish."""

    command: str
    answers: type[News]
    holder: str = ""
    """Whom it was put to, if not the job's provider: what is said of others, which may
    have been asked before, does not answer it."""
    peer_id: str = ""
    """The same one's peer id: several may be asked at once, and leave is each one's."""
    event: trio.Event = field(default_factory=trio.Event)
    answer: News | None = None

    def hear(self, news: News) -> None:
        """Take the news if they are the answer.

        Who was refused asks again after a pause, and is told so as of a silence; that
        it was no silence is what whoever waits has to know.
        """
        silent = isinstance(news, ProviderUnreachable)
        if silent and isinstance(self.answer, CommandRefused):
            return
        if self._is_granted(news) or self._is_denied(news):
            self.answer = news
            self.event.set()

    def _is_granted(self, news: News) -> bool:
        if not isinstance(news, self.answers):
            return False
        if isinstance(news, ReadGranted | LogCopyGranted) and self.peer_id:
            return news.peer_id == self.peer_id
        return True

    def _is_denied(self, news: News) -> bool:
        if isinstance(news, CommandRefused):
            if news.command not in (self.command, ""):
                return False
        elif not isinstance(news, ProviderUnreachable):
            return False
        return not self.holder or news.provider in (self.holder, "")


class Questions:
    """The questions about one job that wait for their answers."""

    def __init__(self, peer: Peer, job: JobId) -> None:
        self._peer = peer
        self._job = job
        self._open: list[Question] = []
        self._holders: set[str] = set()

    def hear(self, news: News) -> None:
        """Give news to whoever waits for them."""
        for question in tuple(self._open):
            question.hear(news)

    def is_aside(self, news: News) -> bool:
        """Tell whether it is what a holder answered, which is no news of the job."""
        if not isinstance(news, Challenged | CommandRefused | ProviderUnreachable):
            return False
        award = self._order.award
        ours = award is not None and news.provider == award.provider
        return not ours and news.provider in self._holders

    def begin(self, question: Question) -> None:
        """Wait for an answer from now on."""
        self._open.append(question)

    def end(self, question: Question) -> None:
        """Wait no longer."""
        self._open.remove(question)

    async def ask(self, wish: Input, command: str, answers: type[_A]) -> _A:
        """Tell a wish to the node, and return the answer.

        Raises:
            UnknownJobError: the provider has no such job, or it is not ours.
            ProviderUnreachableError: it does not answer.
            ClientError: it refuses.
        """
        question = self._question(wish, command, answers)
        self.begin(question)
        try:
            await self._peer.tell(wish)
            await question.event.wait()
        finally:
            self.end(question)
        match question.answer:
            case CommandRefused() as said:
                order = self._order
                if said.refusal.code == "job.nowhere" and order.spec:
                    raise ResultMissingError(_why_nowhere(order))
                raise refused(self._job, said.refusal)
            case ProviderUnreachable() as silent:
                raise ProviderUnreachableError(
                    f"{silent.provider} cannot be reached: {silent.reason}"
                )
            case answer if isinstance(answer, answers):
                return answer
            case _:
                raise UnknownJobError(self._job)

    async def report(self, on_silence: Callable[[], None]) -> Report:
        """Return where the job stands, of its provider; raises as `ask`."""
        wish = ReportWanted(job=self._job)
        with trio.move_on_after(PATIENCE_S * self._haste) as patience:
            answer = await self.ask(wish, STATUS, ReportReceived)
        if patience.cancelled_caught:
            on_silence()
            answer = await self.ask(wish, STATUS, ReportReceived)
        return answer.report

    async def read(self, on_elsewhere: OnElsewhere) -> ReadGranted:
        """Return leave to read the result, of its provider or of whoever has a copy.

        Args:
            on_elsewhere: told if the provider is silent, or it is a copy's.

        Raises:
            ClientError: what the provider said, if nobody has a copy either.
        """
        wish = ReadWanted(job=self._job)
        failures: list[ClientError] = []
        with trio.move_on_after(PATIENCE_S * self._haste) as patience:
            try:
                return await self.ask(wish, READ, ReadGranted)
            except (ProviderUnreachableError, UnknownJobError) as error:
                failures.append(error)
        silent = (wish,) if patience.cancelled_caught else ()
        if silent:
            on_elsewhere(ProviderSilent())

        async def ask(each: ReadWanted | ReplicaWanted) -> ReadGranted:
            try:
                return await self.ask(each, READ, ReadGranted)
            except ClientError as error:
                if isinstance(each, ReadWanted):
                    failures.append(error)
                raise

        holders = await self.holders() if self._wants_copies else ()
        award = self._order.award
        for granted in await self._in_turn((*silent, *holders), ask, 1):
            if award is None or granted.peer_id != award.peer_id:
                on_elsewhere(ReadElsewhere(holder=did_of_peer_id(granted.peer_id)))
            return granted
        raise self._lonely(failures[0]) if not holders else failures[0]

    async def copies(self, root: Cid) -> Sequence[str]:
        """Return the peers that have a copy of a result and grant it to us."""
        found = await self._granted(SOURCES_MAX)
        return [each.peer_id for each in found if each.receipt.result == root]

    async def holding(self) -> Sequence[Copy]:
        """Return who has a copy of the result now, as far as they can be found.

        At most as many as the owner wanted are sought, for `LOOK_S` at most.

        Raises:
            NoNetworkError: nobody is heard who might have one.
        """
        if not await self.holders():
            raise NoNetworkError(NOBODY_HEARD)
        spec = self._order.spec
        found = await self._granted(spec.replicas if spec else NEAREST_MAX, LOOK_S)
        return [
            Copy(holder=did_of_peer_id(each.peer_id), receipt=each.receipt)
            for each in found
        ]

    async def log_copies(self) -> Sequence[LogCopyGranted]:
        """Return the copies that have the logs or part of them, the fullest first."""
        wishes = [replace(holder, logs=True) for holder in await self.holders()]

        async def ask(wish: ReplicaWanted) -> LogCopyGranted:
            return await self.ask(wish, LOGS, LogCopyGranted)

        found = await self._in_turn(wishes, ask, NEAREST_MAX)
        return sorted(found, key=_fullness, reverse=True)

    async def holders(self) -> Sequence[ReplicaWanted]:
        """Return who may have a copy of the result, likeliest first, to be asked."""
        await self._peer.wait_known(LISTEN_S)
        now_s = self._peer.driver.clock.now().unix_s
        award = self._order.award
        offers = (
            heard
            for heard in self._peer.adverts.fresh(now_s)
            if heard.payload.store_bytes
            and (not award or heard.issuer != award.provider)
        )
        return [
            ReplicaWanted(
                job=self._job,
                holder=heard.issuer,
                peer_id=heard.payload.peer_id,
                addresses=heard.payload.addresses,
            )
            for heard in nearest(self._job, offers, NEAREST_MAX)
        ]

    def _lonely(self, failure: ClientError) -> ClientError:
        """Return a failure with what may help if nobody was heard but its cause."""
        silent = isinstance(failure, ProviderUnreachableError)
        if not silent or not self._wants_copies:
            return failure
        return ProviderUnreachableError(f"{failure}; {NOBODY_HEARD}")

    async def _granted(
        self, answers_max: int, within_s: float = math.inf
    ) -> list[ReadGranted]:
        async def ask(wish: ReplicaWanted) -> ReadGranted:
            return await self.ask(wish, READ, ReadGranted)

        return await self._in_turn(await self.holders(), ask, answers_max, within_s)

    async def _in_turn(
        self,
        wishes: Sequence[_W],
        ask: Callable[[_W], Awaitable[_A]],
        answers_max: int,
        within_s: float = math.inf,
    ) -> list[_A]:
        hurry_s = HURRY_S * self._haste
        return await ask_in_turn(
            wishes, ask, answers_max=answers_max, hurry_s=hurry_s, within_s=within_s
        )

    def _question(self, wish: Input, command: str, answers: type[News]) -> Question:
        if not isinstance(wish, ReplicaWanted):
            return Question(command, answers)
        self._holders.add(wish.holder)
        return Question(command, answers, wish.holder, wish.peer_id)

    @property
    def _haste(self) -> float:
        """One; but endless patience for a person who signs in another program."""
        signer = self._peer.users.get(self._order.owner or Did(""))
        return math.inf if isinstance(signer, AbsentKey) else 1

    @property
    def _wants_copies(self) -> bool:
        """Whether there may be copies, as far as is known here."""
        spec = self._order.spec
        return spec is None or bool(spec.replicas)

    @property
    def _order(self) -> Order:
        return self._peer.orders.get(self._job) or Order(job=self._job)


def _fullness(copy: LogCopyGranted) -> tuple[int, bool, int]:
    said = copy.receipt
    if isinstance(said, LogReceipt):
        return (said.attempt, False, said.links)
    return (said.attempt, True, 0)


def check_receipt(order: Order, receipt: Receipt) -> None:
    """Refuse a receipt for somebody else.

    Raises:
        ClientError: it is.
    """
    if order.owner is not None and receipt.owner != order.owner:
        raise ClientError(f"{order.job}: the receipt is for {receipt.owner}")


def _why_nowhere(order: Order) -> str:
    state = "not placed yet" if order.state is State.QUEUED else str(order.state)
    return f"{order.job}: no provider has it; it is {state}: {order.reason}"
