"""A node that relays challenges or answers with something else gains nothing.

The user's side signs only what it composed itself, for the node that it dialled; and
no frame of a provider, however odd, may stop the node that asked.
"""

import pytest

from nunet_node.capability.invocation import request_digest
from nunet_node.identity.challenge import CHALLENGE_KIND, Challenge
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import ACCEPTED, NOTICE, RECEIPT, Accepted
from nunet_node.market.offers import BID, CALL, Bid, CallForBids
from nunet_node.protocol.inputs import FrameReceived, OrderWanted
from nunet_node.protocol.messages import (
    SUBMIT,
    Adverts,
    AdvertsWanted,
    ChallengeWanted,
    Frame,
    Invoke,
    Refused,
    Stated,
)
from nunet_node.wire.schema import decode_record
from tests.unit.protocol.puppet import Puppet, spec_cid
from tests.unit.protocol.world import World, job_of, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def user(world):
    return world.peer(2)


def bid(puppet, given):
    """Return a bid if the frame is a call, None if it is not."""
    payload = getattr(given.body, "payload", None)
    if not isinstance(payload, CallForBids):
        return None
    offer = Bid(call=payload.call, price_micro_ntx=0)
    return puppet.state(BID, offer, given.body.issuer)


def challenge_like(puppet, given, user, **wrong):
    wanted = given.body
    right = {
        "nonce": b"n" * 32,
        "verifier": puppet.did,
        "subject": wanted.subject,
        "verifier_peer": puppet.peer_id,
        "subject_peer": user.peer_id,
        "command": wanted.command,
        "request_digest": wanted.request_digest,
        "boot": b"b" * 16,
    }
    return Challenge(**{**right, **wrong})


def invocations(puppet):
    return [
        h
        for h in puppet.heard
        if isinstance(h, FrameReceived)
        and hasattr(h.body, "command")
        and not isinstance(h.body, ChallengeWanted)
    ]


def submit_to(user, wanted):
    job = job_of(user, wanted)
    user.give(OrderWanted(job=job, spec=wanted, salt=b"s" * 16))
    user.world.run()
    return job


def test_a_challenge_of_another_node_that_is_passed_on_is_not_answered(world, user):
    victim = world.peer(1, cpus=2, price=9)
    relay = Puppet(world, 50)

    def answer(puppet, given):
        if isinstance(given.body, ChallengeWanted):
            # The relay asks the victim for a challenge for the very same request.
            session = next(s for s, (p, _) in puppet.sessions.items() if p is victim)
            number = puppet.say(session, given.body)
            waiting[number] = (given.session, given.frame)
            return None
        return bid(puppet, given)

    waiting = {}
    relay.answer = answer
    relay.dial(victim)
    relay.advertise()
    submit_to(user, spec())
    frames = [decode_record(Frame, data, bytes_max=1 << 20) for data in relay.raw]
    passed_on = 0
    for got in frames:
        if isinstance(got.body, Stated) and got.re in waiting:
            session, frame = waiting[got.re]
            relay.say(session, got.body, re=frame)
            passed_on += 1
    world.run()

    assert passed_on == 1
    assert not invocations(relay), "the user signed for a node it did not dial"


@pytest.mark.parametrize(
    "wrong",
    [
        {"verifier": "did:key:z6MkkkW1fAB6NkuY4Hw4APFs5cAMFMrrTqtHPQ6U8AWGF4Uo"},
        {"verifier_peer": "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"},
        {"subject": "did:key:z6MkkkW1fAB6NkuY4Hw4APFs5cAMFMrrTqtHPQ6U8AWGF4Uo"},
        {"subject_peer": "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"},
        {"command": "/nunet/job/cancel"},
        {"request_digest": b"x" * 32},
    ],
)
def test_a_challenge_about_something_else_is_not_answered(world, user, wrong):
    liar = Puppet(world, 50)

    def answer(puppet, given):
        if isinstance(given.body, ChallengeWanted):
            made = challenge_like(puppet, given, user, **wrong)
            return puppet.state(CHALLENGE_KIND, made, user.user.did)
        return bid(puppet, given)

    liar.answer = answer
    liar.advertise()
    submit_to(user, spec())

    assert not invocations(liar)


def test_the_right_challenge_is_answered_for_exactly_this_request(world, user):
    honest = Puppet(world, 50)

    def answer(puppet, given):
        if isinstance(given.body, ChallengeWanted):
            made = challenge_like(puppet, given, user)
            return puppet.state(CHALLENGE_KIND, made, user.user.did)
        return bid(puppet, given)

    honest.answer = answer
    honest.advertise()
    wanted = spec()
    job = submit_to(user, wanted)

    (given,) = (h.body for h in invocations(honest))
    assert (given.command, given.subject) == (SUBMIT, user.user.did)
    assert (given.args["job"], given.audience) == (job, honest.did)
    asked = next(h.body for h in honest.heard if isinstance(h.body, ChallengeWanted))
    assert asked.request_digest == request_digest(
        user.user.did, user.user.did, honest.did, SUBMIT, given.args
    )


def accepted_without_challenge(puppet, user):
    wanted = spec()
    said = Accepted(
        job=job_of(user, wanted),
        owner=user.user.did,
        attempt=1,
        spec=spec_cid(wanted),
        state=State.ALLOCATED,
        lease_until_s=2_000_000_000,
    )
    return puppet.state(ACCEPTED, said, user.user.did)


@pytest.mark.parametrize(
    "odd",
    [
        lambda p, u: AdvertsWanted(),
        lambda p, u: Adverts(items=()),
        lambda p, u: ChallengeWanted(
            subject=p.did, command=SUBMIT, request_digest=b"d" * 32
        ),
        lambda p, u: Invoke(invocation=b"\x80"),
        lambda p, u: Refused(data=b"\x80"),
        lambda p, u: Stated(statement_kind=NOTICE, data=b"\x80"),
        lambda p, u: Stated(statement_kind="no-such-kind", data=b""),
        lambda p, u: p.state(BID, Bid(call=b"", price_micro_ntx=0), u.did),
        lambda p, u: p.state(RECEIPT, Bid(call=b"", price_micro_ntx=0), u.did),
        lambda p, u: p.state(CALL, Bid(call=b"", price_micro_ntx=0), u.did),
        lambda p, u: p.invocation(u, SUBMIT, {"challenge": b"d" * 32}, None),
        accepted_without_challenge,
    ],
)
@pytest.mark.parametrize("instead_of", ["bid", "challenge", "answer"])
def test_an_odd_answer_neither_stops_the_node_nor_holds_up_the_order(
    world, user, odd, instead_of
):
    liar = Puppet(world, 50)

    def answer(puppet, given):
        if isinstance(given.body, ChallengeWanted) and instead_of != "challenge":
            if instead_of == "bid":
                return None
            made = challenge_like(puppet, given, user)
            return puppet.state(CHALLENGE_KIND, made, user.user.did)
        if instead_of != "bid" and (offer := bid(puppet, given)):
            return offer
        return odd(puppet, user)

    liar.answer = answer
    liar.advertise()
    job = submit_to(user, spec())
    liar.answer = None
    # The liar is cheap; when it has failed, an honest provider gets the job.
    provider = world.peer(1, cpus=2, price=9)
    world.run(for_s=60)

    order = user.orders[job]
    if instead_of == "answer" and odd is accepted_without_challenge:
        assert order.award.provider == liar.did
    else:
        assert order.award.provider == provider.did
        assert order.state is State.RUNNING
