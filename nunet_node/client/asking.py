"""Questions about one job, each answered once: by its provider, or by a holder.

Rule: the job's provider is asked first; who keeps a copy is asked only when it cannot
be reached or has nothing. Holders are found by the job's id alone, in the order in
which its provider chose them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
from nunet_node.protocol.effects import (
    CommandRefused,
    LogsGranted,
    News,
    ProviderUnreachable,
    ReadGranted,
    ReportReceived,
)
from nunet_node.protocol.inputs import Input, ReadWanted
from nunet_node.protocol.messages import READ
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import ReplicaWanted
from nunet_node.protocol.replicas.placing import NEAREST_MAX, nearest
from nunet_node.runtime.peer import Peer

LOOK_S: Final = 5
"""How long the network is listened to for who keeps copies."""

_A = TypeVar("_A", ReportReceived, LogsGranted, ReadGranted)


@dataclass(slots=True, eq=False)
class Question:
    """Somebody waits for the answer to one wish."""

    command: str
    answers: type[News]
    event: trio.Event = field(default_factory=trio.Event)
    answer: News | None = None

    def hear(self, news: News) -> None:
        """Take the news if they are the answer."""
        refusal = isinstance(news, CommandRefused) and news.command in (
            self.command,
            "",
        )
        if isinstance(news, self.answers | ProviderUnreachable) or refusal:
            self.answer = news
            self.event.set()


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
        question = Question(command, answers)
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


def _why_nowhere(order: Order) -> str:
    state = "not placed yet" if order.state is State.QUEUED else str(order.state)
    return f"{order.job}: no provider has it; it is {state}: {order.reason}"
