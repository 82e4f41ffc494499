"""What a provider shows: its advert on gossip, and its bids on streams.

Rule: a bid promises a price, not room; it holds nothing, so that identities made
for nothing cannot pin capacity. An advert is repeated when what it says changes,
at most once in `CHANGE_MS_MIN`, and otherwise at the network's refresh time.
"""

from dataclasses import dataclass
from typing import Final

from nunet_node.domains import not_lent
from nunet_node.identity.statement import topic_audience
from nunet_node.jobs.scheduler import QUEUE_MAX, starts_in_s
from nunet_node.market.offers import (
    ADDRESSES_MAX,
    ADVERT,
    ADVERT_TOPIC,
    ANCHORS_MAX,
    BID,
    Advert,
    Bid,
    CallForBids,
    Refusal,
    lifetime_s,
    refresh_s,
)
from nunet_node.market.scoring import why_unfit
from nunet_node.protocol.effects import Publish, SetTimer
from nunet_node.protocol.messages import Stated
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.trust.admission import Mode
from nunet_node.protocol.turn import Turn

ADVERT_TIMER: Final = "advert"

CHANGE_MS_MIN: Final = 250
"""Shortest time between adverts, however fast jobs come and go."""

_NS_PER_MS: Final = 1_000_000


@dataclass(slots=True)
class Window:
    """What was last shown, and when."""

    shown: Advert | None = None
    data: bytes = b""
    shown_ns: int = 0
    pending: bool = False
    """A timer runs that will show the newest state."""

    def refresh(self, desk: Desk, turn: Turn, nodes_known: int) -> None:
        """Show what is new now, or as soon as the pace allows."""
        if self.shown is not None and _same(self.shown, _advert(desk, turn)):
            return
        due_ns = self.shown_ns + CHANGE_MS_MIN * _NS_PER_MS
        if self.shown is None or turn.now.elapsed_ns >= due_ns:
            self.show(desk, turn, nodes_known)
        elif not self.pending:
            self.pending = True
            turn.do(SetTimer(name=ADVERT_TIMER, at_ns=due_ns))

    def show(
        self, desk: Desk, turn: Turn, nodes_known: int, *, leaving: bool = False
    ) -> None:
        """Publish the advert as things stand, and plan the next."""
        sequence = max(
            turn.now.unix_s * 1000, (self.shown.sequence + 1) if self.shown else 0
        )
        self.shown = _advert(desk, turn, sequence=sequence, leaving=leaving)
        self.shown_ns = turn.now.elapsed_ns
        self.pending = False
        audience = topic_audience(ADVERT_TOPIC)
        self.data = desk.voice.state(
            turn, ADVERT, self.shown, audience, lifetime_s(nodes_known)
        )
        turn.do(Publish(topic=ADVERT_TOPIC, data=self.data))
        again_ns = turn.after_s(refresh_s(nodes_known))
        turn.do(SetTimer(name=ADVERT_TIMER, at_ns=again_ns))


def answer_call(
    desk: Desk, turn: Turn, session: Session, call: CallForBids
) -> Stated | Refusal:
    """Return a bid for the call, or why there is none."""
    refusal = why_not(desk, turn, call)
    if refusal is not None:
        return refusal
    ahead = desk.waiting(turn)
    wait_s = starts_in_s(
        desk.total, desk.holding(turn), ahead, call.resources, desk.largest
    )
    offer = desk.engine(call.engine)
    if offer is not None and not offer.ready:
        wait_s = max(1, wait_s)
    bid = Bid(
        call=call.call,
        price_micro_ntx=desk.price_micro_ntx,
        starts_in_s=wait_s,
        isolation=offer.isolation if offer else "",
        queue_position=len(ahead) + 1 if wait_s else 0,
    )
    return desk.voice.answer(turn, BID, bid, session.peer_did)


def why_not(desk: Desk, turn: Turn, call: CallForBids) -> Refusal | None:
    """Return why a job of this shape is not taken, if it is not."""
    if not desk.provides:
        return Refusal(code="provider.none", reason="offers no compute", never=True)
    unfit = why_unfit(
        _advert(desk, turn),
        call.engine,
        call.resources,
        call.price_micro_ntx_max,
        call.isolation,
        secrets=call.secrets,
        http=call.http,
        run_s=call.run_s,
    ) or _why_not_lent(desk, call)
    if unfit is not None:
        return Refusal(
            code=f"provider.never-{unfit[0].replace('_', '-')}",
            reason=unfit[1],
            dimension=unfit[0],
            largest=(desk.largest or (desk.total,))[0],
            never=True,
        )
    if desk.draining:
        return Refusal(code="provider.draining", reason="is shutting down")
    if desk.full:
        return Refusal(code="provider.disk-full", reason="has no disk space left")
    if len(desk.waiting(turn)) >= QUEUE_MAX:
        return Refusal(
            code="provider.queue-full", reason=f"{QUEUE_MAX} jobs are waiting already"
        )
    return None


def _why_not_lent(desk: Desk, call: CallForBids) -> tuple[str, str] | None:
    """Return why a job is not let reach what it wants, if it is not."""
    withheld = not_lent(call.http, desk.domains)
    if not withheld:
        return None
    return "network", (
        f"network http: jobs here do not reach {withheld[0]}; ask for other domains, "
        "or bring what it needs as inputs"
    )


def _advert(
    desk: Desk, turn: Turn, *, sequence: int = 0, leaving: bool = False
) -> Advert:
    return Advert(
        peer_id=desk.peer_id,
        addresses=desk.addresses[:ADDRESSES_MAX],
        sequence=sequence,
        engines=desk.engines if desk.provides else (),
        total=desk.total,
        free=desk.free(turn),
        price_micro_ntx=desk.price_micro_ntx,
        queued=len(desk.waiting(turn)),
        leaving=leaving,
        admission="" if desk.admission.mode is Mode.OPEN else str(desk.admission.mode),
        anchors=tuple(sorted(desk.admission.anchors)[:ANCHORS_MAX]),
        machine=desk.machine,
        largest=desk.largest,
        run_s_max=desk.run_s_max,
        store_bytes=desk.store_bytes,
        store_free_bytes=desk.store_free_bytes(turn),
    )


def _same(one: Advert, other: Advert) -> bool:
    fields = (f for f in Advert.__struct_fields__ if f != "sequence")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
