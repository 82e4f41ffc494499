"""What happens to a job, told to a person as it happens.

Rule: one event, at most one line; a line says who did what, and why.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nunet_node.cli.output import Bar, Settings, visible
from nunet_node.client import JobHandle, ProviderSilent, ReadElsewhere
from nunet_node.errors import PeerError
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice, Queue
from nunet_node.market.offers import Bid, Refusal
from nunet_node.protocol.effects import (
    BidCounted,
    Called,
    Challenged,
    CommandRefused,
    News,
    OrderAccepted,
    OrderChanged,
    ProviderUnreachable,
    SignatureWanted,
    Unplaced,
)
from nunet_node.protocol.order import Order
from nunet_node.protocol.secrets.events import SecretsAwaited
from nunet_node.protocol.signing.events import SIGNER_FAILED
from nunet_node.quantities import duration_text, price_text

OWN_FAILURE: Final = 125
"""Exit code for a job that was not placed, was lost, or failed by our own fault."""

EXIT_CODE_MAX: Final = 255
"""Largest exit code that a process can pass on."""

SILENT: Final = "no answer yet from its provider; waiting some seconds more"

_EXIT_CODES: Final = {
    State.COMPLETED: 0,
    State.TIMED_OUT: 124,
    State.CANCELLED: 130,
}
_DID_TAIL: Final = 8
_SAID: Final = {
    State.ALLOCATED: "resources allocated",
    State.STARTING: "starting",
    State.RUNNING: "running",
    State.STORING: "ended; storing the result",
}


def short(did: str | None) -> str:
    """Return enough of a DID for a person to tell it from others."""
    return f"…{did[-_DID_TAIL:]}" if did else "nobody"


def line_of(news: News) -> str | None:
    """Return the line that tells the news, if they are worth one."""
    tell = _TELLERS.get(type(news))
    line = tell(news) if tell else None
    return visible(line) if line else None


def moved(notice: Notice) -> str:
    """Return the line for a notice."""
    if notice.state is State.QUEUED:
        return f"queued{queue_text(notice.queue)}"
    said = _SAID.get(notice.state, str(notice.state))
    return f"{said}: {notice.reason}" if notice.reason else said


def queue_text(queue: Queue | None) -> str:
    """Return a queue's place, reason and estimate."""
    if queue is None:
        return ""
    when = f"starts in about {queue.estimate_s} s"
    return f": place {queue.position}, {when}: {queue.reason}"


def exit_code_of(order: Order) -> int:
    """Return how a command that waited for the job ends: with the job's own code.

    A job that we could not run, place or keep is our failure, not the job's.
    """
    if order.state is State.FAILED and order.exit_code:
        return order.exit_code if 0 < order.exit_code <= EXIT_CODE_MAX else 1
    return _EXIT_CODES.get(order.state, OWN_FAILURE)


async def fetch_shown(settings: Settings, handle: JobHandle, target: Path) -> Path:
    """Fetch a result, with a bar for whoever watches; raises as `JobHandle.fetch`."""
    bar = Bar(settings)

    def dropped(peer_id: str, why: str) -> None:
        bar.clear()
        settings.note(f"peer {peer_id} is dropped, others are asked: {why}")

    def elsewhere(where: ReadElsewhere | ProviderSilent) -> None:
        bar.clear()
        settings.note(_elsewhere_text(where))

    try:
        path = await handle.fetch(
            target, bar, on_dropped=dropped, on_elsewhere=elsewhere
        )
    finally:
        bar.clear()
    with suppress(PeerError):
        name = await handle.public_name()
        if name is not None:
            settings.note(f"public: IPFS tools know this result as {name}")
    return path


def _elsewhere_text(where: ReadElsewhere | ProviderSilent) -> str:
    if isinstance(where, ProviderSilent):
        return SILENT
    if where.holder:
        return f"its provider does not answer; {where.holder} has a copy"
    if where.has_receipt:
        return "all of it is in this home's store already; nobody is asked"
    return (
        "its provider does not answer; all of it is in this home's store, but for the "
        "provider's receipt"
    )


def warn_of_seal(settings: Settings, *, opens: bool, what: str = "its result") -> None:
    """Say before a job runs that no key here will open its result, if so it is."""
    if not opens:
        settings.note(
            f"{what} will be sealed to a key that another program has, and such a "
            "program only signs: nobody can open it. With --public anybody can"
        )


class Teller:
    """Prints what happens to a job, and nothing twice.

    News repeat when a connection comes back. While nobody takes a job, it is offered
    again and again; of those rounds only a reason that is new is told.
    """

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._settings = settings
        self._name = name
        self._last = ""
        self._is_offered_again = False
        self._refusals: dict[str, str] = {}

    def introduce(self, job: JobId) -> None:
        """Print which job this is about, if it has a name and that was not said yet."""
        if self._name:
            self._settings.note(f"job {job} ({self._name})")
            self._name = ""

    def __call__(self, news: News) -> None:
        """Print the line for the news, if there is one that was not said yet."""
        line = line_of(news)
        if line is None or line == self._last or self._is_stale(news, line):
            return
        self.introduce(news.job)  # type: ignore[union-attr] # lines are about jobs
        self._last = line
        self._settings.note(f"  {line}")

    def _is_stale(self, news: News, line: str) -> bool:
        """Tell whether this only repeats what an earlier round of offers brought."""
        match news:
            case BidCounted(refusal=Refusal()) | CommandRefused():
                before = self._refusals.get(news.provider)
                self._refusals[news.provider] = line
                return before == line
            case Unplaced():
                again, self._is_offered_again = self._is_offered_again, True
                return again
            case Called() | BidCounted() | Challenged():
                return self._is_offered_again
            case OrderAccepted():
                self._is_offered_again = False
                self._refusals.clear()
            case _:
                pass
        return False


def _called(news: Called) -> str:
    return f"calling {news.providers} provider(s) for bids"


def _answered(news: BidCounted) -> str | None:
    if news.refusal is not None:
        return f"{short(news.provider)} refuses: {news.refusal.reason}"
    return f"{short(news.provider)} bids {_bid(news.bid)}" if news.bid else None


def _unplaced(news: Unplaced) -> str:
    return (
        f"nobody takes it now; it is offered again, for {duration_text(news.queue_s)}"
    )


def _challenged(news: Challenged) -> str:
    what = news.command.rpartition("/")[2]
    return f"{short(news.provider)} challenged our DID for {what}: answered"


def _signature(news: SignatureWanted) -> str:
    what = news.command.rpartition("/")[2]
    return f"waiting for the signer of {short(news.did)} to sign {what}"


def _accepted(news: OrderAccepted) -> str:
    if news.staged:
        return f"{short(news.provider)} has all it needs"
    return f"accepted by {short(news.provider)}; handing over what it needs"


def _awaited(news: SecretsAwaited) -> str:
    return f"the provider waits: {news.reason}"


def _changed(news: OrderChanged) -> str | None:
    return moved(news.notice) if news.notice else None


def _unreachable(news: ProviderUnreachable) -> str:
    return f"cannot reach {short(news.provider)}: {news.reason}; trying again"


def _refused(news: CommandRefused) -> str | None:
    what = news.command.rpartition("/")[2]
    if news.refusal.code == SIGNER_FAILED and not news.provider:
        return f"{what} was not signed: {news.refusal.reason}"
    said = f"{short(news.provider)} refuses {what}: {news.refusal.reason}"
    return said if news.provider else None


_TELLERS: Final[Mapping[type[News], Callable[[Any], str | None]]] = {
    Called: _called,
    BidCounted: _answered,
    Unplaced: _unplaced,
    SignatureWanted: _signature,
    Challenged: _challenged,
    OrderAccepted: _accepted,
    SecretsAwaited: _awaited,
    OrderChanged: _changed,
    ProviderUnreachable: _unreachable,
    CommandRefused: _refused,
}


def _bid(bid: Bid) -> str:
    price = f"{price_text(bid.price_micro_ntx)} NTX a CPU-hour"
    if bid.starts_in_s or bid.queue_position:
        return f"{price}, starts in about {bid.starts_in_s} s"
    return f"{price}, starts now"
