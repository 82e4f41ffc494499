"""Finding a provider: who could, who will, and who gets it.

A call goes over streams to a bounded number of providers whose adverts fit, so
that a job costs the same in a network of any size. If none fits of all that were
heard, the order is refused at once, and the reason names the dimension and the
largest offer; waiting would not help.
"""

from typing import Final

from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobSpec
from nunet_node.market.offers import CALL, CALL_ID_BYTES, Bid, CallForBids, Refusal
from nunet_node.market.scoring import (
    Candidate,
    keeps,
    rank_bids,
    rank_candidates,
    why_unfit,
)
from nunet_node.protocol.effects import (
    BidCounted,
    Called,
    CancelTimer,
    SetTimer,
    Unplaced,
)
from nunet_node.protocol.facts import BidKept
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.messages import AdvertsWanted, Stated
from nunet_node.protocol.order import Order
from nunet_node.protocol.requester.judging import finish
from nunet_node.protocol.requester.memory import Call, Memory, Pursuit
from nunet_node.protocol.sessions import FRESH_TTL_S, Voice
from nunet_node.protocol.turn import Turn
from nunet_node.quantities import duration_text, largest, price_text
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

BIDS_TIMER: Final = "bids"
DISCOVERY_TIMER: Final = "discovery"
RECALL_TIMER: Final = "recall"

BIDS_S: Final = 3
"""How long a call waits for bids; most calls end when all have answered."""

UNFIT_NOTED_MAX: Final = 32
"""Providers too small or too dear that an order's record names, half of its room."""

DISCOVERY_S: Final = 10
"""How long to wait for the first provider to be heard of."""

CLOCK_DOUBTED: Final = (
    "what the network says is out of date or dated in the future; "
    "compare this machine's clock with theirs"
)
"""What to do when all adverts are stale: one of the clocks is wrong."""

RECALL_S: Final = (5, 5, 10, 20, 30)
"""Pauses before a call is repeated, if all who could are full; the last repeats. A job
may wait like this for days, and each round costs a provider a challenge."""


def start(memory: Memory, turn: Turn, voice: Voice, order: Order) -> None:
    """Call for bids, or wait for a provider to be heard, or give up with a reason."""
    spec, pursuit = order.spec, memory.pursuits.get(order.job)
    if spec is None or pursuit is None or order.job in memory.calls:
        return
    heard = [
        Candidate(provider=a.issuer, advert=a.payload)
        for a in memory.adverts.fresh(turn.now.unix_s)
        if a.payload.engines and a.issuer not in pursuit.avoid
    ]
    fitting = [c for c in heard if _unfit(c, spec) is None]
    if fitting or not pursuit.avoid:
        _note_unfit(memory, turn, order, heard)
    if fitting:
        pursuit.discovery_ends_ns = None
        _call(memory, turn, voice, order, fitting)
    elif heard and not pursuit.avoid:
        _refuse(memory, turn, order, _why_never(heard, spec))
    else:
        _await_discovery(memory, turn, order, pursuit)


def _await_discovery(
    memory: Memory, turn: Turn, order: Order, pursuit: Pursuit
) -> None:
    if pursuit.discovery_ends_ns is None:
        pursuit.discovery_ends_ns = turn.after_s(DISCOVERY_S)
        turn.do(
            SetTimer(
                name=f"{DISCOVERY_TIMER}:{order.job}", at_ns=pursuit.discovery_ends_ns
            )
        )
        # What they said once may be out of date by now, and without gossip nobody
        # says it again unasked.
        for session in memory.sessions.ours():
            memory.sessions.send(turn, session.id, AdvertsWanted())
    elif turn.now.elapsed_ns >= pursuit.discovery_ends_ns:
        _refuse(memory, turn, order, _why_nobody(memory, pursuit))


def _why_nobody(memory: Memory, pursuit: Pursuit) -> str:
    if pursuit.avoid:
        return (
            f"its provider was lost, and within {DISCOVERY_S} s "
            "no other was heard of that has room for it"
        )
    nobody = f"no provider was heard of within {DISCOVERY_S} s; "
    if memory.clock_doubted:
        return nobody + CLOCK_DOUBTED
    return nobody + "name one with --bootstrap"


def session_opened(
    memory: Memory, turn: Turn, voice: Voice, session: SessionId
) -> None:
    """Send the calls that waited for this session."""
    for call in list(memory.calls.values()):
        for provider, waiting in call.asked.items():
            if waiting == session and not call.closed:
                _send(memory, turn, voice, call, provider)


def session_lost(memory: Memory, turn: Turn, session: SessionId) -> tuple[Call, ...]:
    """Count those as silent whose session is gone; return the calls now complete."""
    complete = []
    for call in list(memory.calls.values()):
        gone = [p for p, s in call.asked.items() if s == session]
        for provider in gone:
            why = Refusal(code="peer.unreachable", reason="could not be reached")
            answered(memory, turn, call, provider, None, why)
        if gone and not call.asked and not call.closed:
            complete.append(call)
    return tuple(complete)


def answered(
    memory: Memory,
    turn: Turn,
    call: Call,
    provider: Did,
    bid: Bid | None,
    refusal: Refusal | None,
) -> None:
    """Count an answer to the call; a late or repeated one counts for nothing."""
    if call.closed or call.asked.pop(provider, None) is None:
        return
    if bid is not None and bid.call != call.call:
        bid, refusal = None, Refusal(code="bid.other-call", reason="bid on another")
    if bid is not None:
        call.bids.append((provider, bid))
    if refusal is not None:
        call.refusals.append((provider, refusal))
    kept = BidKept(
        job=call.job,
        provider=provider,
        price_micro_ntx=bid.price_micro_ntx if bid else None,
        refused=refusal.reason if refusal else "",
    )
    memory.record(turn, kept)
    turn.tell(BidCounted(job=call.job, provider=provider, bid=bid, refusal=refusal))


def next_best(turn: Turn, call: Call) -> tuple[Did, Bid] | None:
    """Close the call, and take the best bid that has not been tried."""
    call.closed = True
    turn.do(CancelTimer(name=f"{BIDS_TIMER}:{call.job}"))
    spec = turn.ledger.orders[call.job].spec
    good = [each for each in call.bids if spec is None or _is_good(each[1], spec)]
    ranked = rank_bids(good)
    if not ranked:
        return None
    call.bids.remove(ranked[0])
    return ranked[0]


def _is_good(bid: Bid, spec: JobSpec) -> bool:
    """Tell whether a bid keeps to what the job demands; asking did not bind anyone."""
    limit = spec.price_micro_ntx_max
    cheap = limit is None or bid.price_micro_ntx <= limit
    # A bid without barriers comes of an engine that is still being prepared.
    kept = not bid.isolation or keeps(bid.isolation, spec.isolation or "")
    return cheap and kept


def none_left(memory: Memory, turn: Turn, order: Order, call: Call) -> None:
    """Nobody took it: try again later if that can help, else say why not."""
    memory.calls.pop(order.job, None)
    why = "; ".join(
        f"{provider[-8:]}: {refusal.reason}" for provider, refusal in call.refusals
    )
    if all(refusal.never for _, refusal in call.refusals) and call.refusals:
        _refuse(memory, turn, order, f"no provider takes it: {why}")
        return
    queue_s = order.spec.timeouts.queue_s if order.spec else 0
    left_s = order.placed_s + queue_s - turn.now.unix_s
    if left_s <= 0:
        reason = f"not placed within its queue timeout of {queue_s} s: {why}"
        finish(memory, turn, order, State.TIMED_OUT, reason)
        return
    turn.tell(Unplaced(job=order.job, queue_s=queue_s))
    at_ns = turn.after_s(min(_pause_s(memory.pursuits[order.job]), left_s))
    turn.do(SetTimer(name=f"{RECALL_TIMER}:{order.job}", at_ns=at_ns))


def _pause_s(pursuit: Pursuit) -> int:
    pause_s = RECALL_S[min(pursuit.recalls, len(RECALL_S) - 1)]
    pursuit.recalls += 1
    return pause_s


def _call(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    order: Order,
    fitting: list[Candidate],
) -> None:
    spec = order.spec
    if spec is None:
        return
    call = Call(job=order.job, call=memory.nonce(CALL_ID_BYTES))
    memory.calls[order.job] = call
    chosen = rank_candidates(fitting, spec.resources, call.call)
    opened = []
    for candidate in chosen:
        session, is_open = memory.reach(
            turn, candidate.advert.peer_id, candidate.advert.addresses
        )
        call.asked[candidate.provider] = session
        if is_open:
            opened.append(candidate.provider)
    for provider in opened:
        _send(memory, turn, voice, call, provider)
    at_ns = turn.after_s(BIDS_S)
    turn.do(SetTimer(name=f"{BIDS_TIMER}:{order.job}", at_ns=at_ns))
    turn.tell(Called(job=order.job, providers=len(chosen)))


def _send(memory: Memory, turn: Turn, voice: Voice, call: Call, provider: Did) -> None:
    spec = turn.ledger.orders[call.job].spec
    if spec is None:
        return
    wanted = CallForBids(
        call=call.call,
        spec=Cid.of_dag_cbor(encode_record(spec)),
        engine=spec.engine,
        resources=spec.resources,
        run_s=spec.timeouts.run_s,
        inputs_bytes=spec.inputs_bytes,
        price_micro_ntx_max=spec.price_micro_ntx_max,
        isolation=spec.isolation or "",
        secrets=bool(spec.secrets),
        http=spec.network.http,
    )
    data = voice.state(turn, CALL, wanted, provider, FRESH_TTL_S)
    session = call.asked[provider]
    frame = memory.sessions.send(turn, session, Stated(statement_kind=CALL, data=data))
    if frame is not None:
        memory.questions[session, frame] = ("call", (call.job, provider))


def _unfit(candidate: Candidate, spec: JobSpec) -> tuple[str, str] | None:
    return why_unfit(
        candidate.advert,
        spec.engine,
        spec.resources,
        spec.price_micro_ntx_max,
        spec.isolation or "",
        secrets=bool(spec.secrets),
        http=spec.network.http,
        run_s=spec.timeouts.run_s,
    )


def _note_unfit(
    memory: Memory, turn: Turn, order: Order, heard: list[Candidate]
) -> None:
    """Keep, for ``status``, why a provider was not even asked."""
    for candidate in heard[:UNFIT_NOTED_MAX]:
        unfit = _unfit(candidate, order.spec) if order.spec else None
        if unfit is None:
            continue
        dimension, reason = unfit
        kept = BidKept(job=order.job, provider=candidate.provider, refused=reason)
        memory.record(turn, kept)
        why = Refusal(
            code=f"provider.never-{dimension.replace('_', '-')}",
            reason=reason,
            dimension=dimension,
            never=True,
        )
        told = BidCounted(
            job=order.job, provider=candidate.provider, bid=None, refusal=why
        )
        turn.tell(told)


def _why_never(heard: list[Candidate], spec: JobSpec) -> str:
    able = [c for c in heard if any(e.engine == spec.engine for e in c.advert.engines)]
    who = f"of {len(heard)} providers heard"
    if not able:
        return f"no room ever: engine {spec.engine} is offered by none {who}"
    if all(_lacks(c, spec, "secrets") for c in able):
        return (
            f"no room ever: engine {spec.engine} with secrets is offered by none {who}"
        )
    if all(_lacks(c, spec, "isolation") for c in able):
        return (
            f"no room ever: isolation {spec.isolation} of engine {spec.engine} is "
            f"offered by none {who}"
        )
    for name in spec.resources.__struct_fields__:
        rooms = [room for c in able for room in c.advert.rooms]
        if not any(spec.resources.has(name, room) for room in rooms):
            return (
                f"no room ever: {name}: {spec.resources.text(name)} wanted, "
                f"the largest offer {who} is {largest(name, rooms).text(name)}"
            )
    return (
        _why_too_long(able, spec, who)
        or _why_too_dear(able, spec, who)
        or f"no room ever: no single provider {who} has enough in every dimension"
    )


def _why_too_long(able: list[Candidate], spec: JobSpec, who: str) -> str:
    if not all(_lacks(c, spec, "time") for c in able):
        return ""
    longest_s = max(c.advert.run_s_max for c in able)
    return (
        f"no room ever: time: {duration_text(spec.timeouts.run_s)} wanted, "
        f"the longest that a job may run {who} is {duration_text(longest_s)}"
    )


def _why_too_dear(able: list[Candidate], spec: JobSpec, who: str) -> str:
    limit = spec.price_micro_ntx_max
    cheapest = min(c.advert.price_micro_ntx for c in able)
    if limit is None or cheapest <= limit:
        return ""
    return (
        f"no room ever: price: the limit is {price_text(limit)} NTX a CPU-hour, "
        f"the lowest asked {who} is {price_text(cheapest)}"
    )


def _lacks(candidate: Candidate, spec: JobSpec, dimension: str) -> bool:
    unfit = _unfit(candidate, spec)
    return unfit is not None and unfit[0] == dimension


def _refuse(memory: Memory, turn: Turn, order: Order, reason: str) -> None:
    finish(memory, turn, order, State.REFUSED, reason)
