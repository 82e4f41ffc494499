"""Questions about one job, each answered once: by its provider, or by a holder.

Rule: the job's provider is asked first; who keeps a copy is asked only when it cannot
be reached or has nothing. Holders are found by the job's id alone, in the order in
which its provider chose them. Leave to read ends with a connection, and what was
fetched does not; so after a break leave is asked for again, as long as that helps.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from nunet_node.client.errors import (
    ClientError,
    ProviderUnreachableError,
    ResultMissingError,
    UnknownJobError,
    refused,
)
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import LogReceipt, Receipt
from nunet_node.network.port import NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.effects import (
    CommandRefused,
    LogsGranted,
    News,
    ProviderUnreachable,
    ReadGranted,
    ReportReceived,
)
from nunet_node.protocol.inputs import Input, ReadWanted
from nunet_node.protocol.messages import LOGS, READ
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import LogCopyGranted, ReplicaWanted
from nunet_node.protocol.replicas.placing import NEAREST_MAX, nearest
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.peer import Peer
from nunet_node.runtime.wallet.reading import seal_of
from nunet_node.wire.cid import Cid

LOOK_S: Final = 5
"""How long the network is listened to for who keeps copies."""

RECEIPT_FILE: Final = "receipt.cbor"
"""Where the provider's signed receipt lies in a fetched result."""

_A = TypeVar("_A", ReportReceived, LogsGranted, ReadGranted, LogCopyGranted)


@dataclass(slots=True, eq=False)
class Question:
    """Somebody waits for the answer to one wish."""

    command: str
    answers: type[News]
    holder: str = ""
    """Whom it was put to, if not the job's provider: what is said of others, which may
    have been asked before, does not answer it."""
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
        if isinstance(news, self.answers) or self._is_denied(news):
            self.answer = news
            self.event.set()

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

    def hear(self, news: News) -> None:
        """Give news to whoever waits for them."""
        for question in tuple(self._open):
            question.hear(news)

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
        holder = wish.holder if isinstance(wish, ReplicaWanted) else ""
        question = Question(command, answers, holder)
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

    async def read(self) -> ReadGranted:
        """Return leave to read the result, of its provider or of whoever has a copy.

        Raises:
            ClientError: what the provider said, if nobody has a copy either.
        """
        try:
            return await self.ask(ReadWanted(job=self._job), READ, ReadGranted)
        except (ProviderUnreachableError, UnknownJobError) as error:
            for holder in await self.holders():
                try:
                    return await self.ask(holder, READ, ReadGranted)
                except ClientError:
                    continue
            raise error from None

    async def copies(self, root: Cid) -> Sequence[str]:
        """Return the peers that have a copy of a result and grant it to us."""
        granted = []
        for holder in await self.holders():
            with suppress(ClientError):
                said = await self.ask(holder, READ, ReadGranted)
                if said.receipt.result == root:
                    granted.append(said.peer_id)
        return granted

    async def log_copies(self) -> Sequence[LogCopyGranted]:
        """Return the copies that have the logs or part of them, the fullest first."""
        found = []
        for holder in await self.holders():
            wish = replace(holder, logs=True)
            with suppress(ClientError):
                found.append(await self.ask(wish, LOGS, LogCopyGranted))
        return sorted(found, key=_fullness, reverse=True)

    async def holders(self) -> Sequence[ReplicaWanted]:
        """Return who may have a copy of the result, likeliest first, to be asked."""
        await self._peer.wait_known(LOOK_S)
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

    @property
    def _order(self) -> Order:
        return self._peer.orders.get(self._job) or Order(job=self._job)


def _fullness(copy: LogCopyGranted) -> tuple[int, bool, int]:
    said = copy.receipt
    if isinstance(said, LogReceipt):
        return (said.attempt, False, said.links)
    return (said.attempt, True, 0)


async def collect(
    peer: Peer, questions: Questions, order: Order, target: Path, listener: Listener
) -> None:
    """Fetch an order's result to a target; raises as `JobHandle.fetch`."""
    come = 0

    def hear(done: int, total: int) -> None:
        nonlocal come
        come = max(come, done)
        listener.on_progress(done, total)

    while True:
        before = come
        try:
            await _collect_once(
                peer, questions, order, target, replace(listener, on_progress=hear)
            )
        except (NetworkError, StreamBroken):
            if come == before:
                raise
        else:
            return


def check_receipt(order: Order, receipt: Receipt) -> None:
    """Refuse a receipt for somebody else.

    Raises:
        ClientError: it is.
    """
    if order.owner is not None and receipt.owner != order.owner:
        raise ClientError(f"{order.job}: the receipt is for {receipt.owner}")


async def _collect_once(
    peer: Peer, questions: Questions, order: Order, target: Path, listener: Listener
) -> None:
    granted = await questions.read()
    check_receipt(order, granted.receipt)
    root = granted.receipt.result
    await peer.transfers.fetch(
        (granted.peer_id,),
        root,
        target,
        seal=seal_of(granted.receipt, peer.users, peer.holdings),
        beside={RECEIPT_FILE: granted.receipt_data},
        listener=replace(listener, more_peers=partial(_copies, questions, order, root)),
    )


async def _copies(questions: Questions, order: Order, root: Cid) -> Sequence[str]:
    """Return who else grants this very result to us."""
    if order.spec is None or not order.spec.replicas:
        return ()
    return await questions.copies(root)


def _why_nowhere(order: Order) -> str:
    state = "not placed yet" if order.state is State.QUEUED else str(order.state)
    return f"{order.job}: no provider has it; it is {state}: {order.reason}"
