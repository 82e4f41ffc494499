"""Peers that lie about what they have, want or did, and what it gets them: nothing."""

import pytest

from nunet_node.identity.statement import seal, topic_audience
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import ACCEPTED, NOTICE, Accepted, Notice
from nunet_node.market.offers import (
    ADVERT,
    ADVERT_TOPIC,
    BID,
    CALL,
    Advert,
    Bid,
    CallForBids,
)
from nunet_node.market.table import LIFETIME_S_MAX
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import SUBMIT
from nunet_node.protocol.opening import open_adverts
from nunet_node.quantities import ResourceVector
from tests.unit.protocol.puppet import Puppet, code_of, spec_cid
from tests.unit.protocol.world import World, job_of, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def user(world):
    return world.peer(2)


def bidder(world, number, **wrong):
    """Return a puppet that offers much and bids as told."""
    puppet = Puppet(world, number)

    def answer(puppet, given):
        payload = getattr(given.body, "payload", None)
        if not isinstance(payload, CallForBids):
            return None
        right = {"call": payload.call, "price_micro_ntx": 0}
        signer = wrong.get("signer", puppet.key)
        fields = {k: v for k, v in wrong.items() if k != "signer"}
        offer = Bid(**{**right, **fields})
        return puppet.state(BID, offer, given.body.issuer, signer=signer)

    puppet.answer = answer
    puppet.advertise()
    return puppet


def calls(puppet):
    bodies = ((h, getattr(h.body, "payload", None)) for h in puppet.heard)
    return [h for h, payload in bodies if isinstance(payload, CallForBids)]


def known(peer):
    return {a.issuer for a in peer.node.adverts.fresh(peer.world.now.unix_s)}


def test_a_bid_on_another_call_is_not_counted(world, user):
    liar = bidder(world, 50, call=b"c" * 16)
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)

    job = place(user, spec())

    assert user.orders[job].award.provider == honest.did
    refused = {b.provider: b.refused for b in user.orders[job].bids}
    assert refused[liar.did]


def test_a_bid_that_another_signed_is_not_counted(world, user):
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)
    bidder(world, 50, signer=Puppet(world, 51).key)

    job = place(user, spec())

    assert user.orders[job].award.provider == honest.did


def test_a_bid_above_the_limit_does_not_win(world, user):
    bidder(world, 50, price_micro_ntx=11)
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)

    job = place(user, spec(price_micro_ntx_max=10))

    assert user.orders[job].award.provider == honest.did


@pytest.mark.parametrize("price", [-1, 2**53, 2**64 - 1])
def test_a_price_that_is_none_is_not_counted(world, user, price):
    bidder(world, 50, price_micro_ntx=price)
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)

    job = place(user, spec())

    assert user.orders[job].award.provider == honest.did


def test_a_bid_after_the_deadline_is_not_counted(world, user):
    slow = Puppet(world, 50)
    slow.advertise(cpus=8)
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)
    job = place(user, spec())
    (call,) = calls(slow)
    world.run(for_s=4)
    offer = Bid(call=call.body.payload.call, price_micro_ntx=0)

    slow.say(call.session, slow.state(BID, offer, user.did), re=call.frame)
    world.run()

    assert user.orders[job].award.provider == honest.did
    assert slow.did not in {b.provider for b in user.orders[job].bids}


def test_a_second_bid_of_the_same_bidder_is_not_counted(world, user):
    liar = Puppet(world, 50)
    liar.advertise()
    quiet = Puppet(world, 51)
    quiet.advertise()
    job = place(user, spec())
    (call,) = calls(liar)
    for price in (5, 1):
        offer = Bid(call=call.body.payload.call, price_micro_ntx=price)
        liar.say(call.session, liar.state(BID, offer, user.did), re=call.frame)
    world.run()

    (kept,) = (b for b in user.orders[job].bids if b.provider == liar.did)
    assert kept.price_micro_ntx == 5


def test_a_bid_holds_nothing(world):
    provider = world.peer(1, cpus=2)
    asker = Puppet(world, 50)
    session = asker.dial(provider)
    for number in range(20):
        call = CallForBids(
            call=bytes([number]) * 16,
            spec=spec_cid(spec()),
            engine="process",
            resources=ResourceVector(cpu_millis=2000),
            run_s=60,
        )
        heard = asker.ask(session, asker.state(CALL, call, provider.did))
        assert heard.body.payload.starts_in_s == 0
    assert provider.journal == []


def accepts(puppet, user, wanted, **wrong):
    right = {
        "job": job_of(user, wanted),
        "owner": user.user.did,
        "attempt": 1,
        "spec": spec_cid(wanted),
        "state": State.ALLOCATED,
        "lease_until_s": 2_000_000_000,
    }
    return puppet.state(ACCEPTED, Accepted(**{**right, **wrong}), user.user.did)


def test_an_acceptance_from_a_provider_that_was_not_asked_changes_nothing(world, user):
    honest = world.peer(1, cpus=2)
    liar = Puppet(world, 50)
    wanted = spec()
    job = place(user, wanted)
    before = list(user.journal)

    session = liar.dial(user)
    for frame in range(1, 20):
        liar.say(session, accepts(liar, user, wanted), re=frame)
    world.run()

    assert user.orders[job].award.provider == honest.did
    assert user.journal == before


def notice(puppet, user, job, **wrong):
    right = {
        "job": job,
        "owner": user.user.did,
        "attempt": 1,
        "sequence": 1,
        "previous": b"",
        "state": State.COMPLETED,
        "at_s": 1,
    }
    return puppet.state(NOTICE, Notice(**{**right, **wrong}), user.user.did)


def test_a_notice_of_somebody_else_is_not_believed(world, user):
    world.peer(1, cpus=2)
    liar = Puppet(world, 50)
    job = place(user, spec())
    last = user.orders[job].notice
    previous = user.orders[job].notice_digest

    session = liar.dial(user)
    said = {"sequence": last.sequence + 1, "previous": previous}
    liar.say(session, notice(liar, user, job, **said))
    world.run()

    assert user.orders[job].state is State.RUNNING


def test_a_notice_about_a_job_that_is_not_ours_is_not_kept(world, user):
    provider = world.peer(1, cpus=2)
    place(user, spec())
    custodian = Puppet(world, 1, user=provider.user)
    before = list(user.journal)

    custodian.say(custodian.dial(user), notice(custodian, user, "a" * 32))
    world.run()

    assert user.journal == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 5},
        {"sequence": 3},
        {"previous": b"x" * 32},
        {"owner": "did:key:z6MkkkW1fAB6NkuY4Hw4APFs5cAMFMrrTqtHPQ6U8AWGF4Uo"},
    ],
)
def test_a_notice_out_of_the_chain_is_not_believed(world, user, wrong):
    provider = world.peer(1, cpus=2)
    job = place(user, spec())
    order = user.orders[job]
    right = {"sequence": 4, "previous": order.notice_digest}
    assert order.notice.sequence == 3
    custodian = Puppet(world, 1, user=provider.user)

    custodian.say(
        custodian.dial(user), notice(custodian, user, job, **{**right, **wrong})
    )
    world.run()

    assert user.orders[job].state is State.RUNNING


def test_what_a_custodian_says_after_the_end_changes_nothing(world, user):
    provider = world.peer(1, cpus=2)
    job = place(user, spec())
    provider.finish()
    provider.store()
    order = user.orders[job]
    custodian = Puppet(world, 1, user=provider.user)
    said = {
        "sequence": order.notice.sequence + 1,
        "previous": order.notice_digest,
        "state": State.FAILED,
    }

    custodian.say(custodian.dial(user), notice(custodian, user, job, **said))
    world.run()

    assert user.orders[job] == order
    assert order.state is State.COMPLETED


def test_an_advert_for_another_peer_is_dropped(world, user):
    liar, victim = Puppet(world, 50), Puppet(world, 51)
    advert = Advert(peer_id=victim.peer_id, addresses=(), sequence=1)
    said = liar.state(ADVERT, advert, topic_audience(ADVERT_TOPIC))

    opened = open_adverts([said.data, b"junk", b""], now_s=world.now.unix_s)
    user.give(opened)

    assert opened.adverts == ()
    assert known(user) == set()


def test_a_replayed_advert_does_not_bring_back_what_was(world, user):
    liar = Puppet(world, 50)
    audience = topic_audience(ADVERT_TOPIC)
    old = liar.state(
        ADVERT, Advert(peer_id=liar.peer_id, addresses=(), sequence=1), audience
    )
    liar.advertise(sequence=2)

    user.give(open_adverts([old.data], now_s=world.now.unix_s))

    (kept,) = user.node.adverts.fresh(world.now.unix_s)
    assert kept.payload.sequence == 2


def test_an_advert_that_would_live_for_ever_is_dropped(world, user):
    liar = Puppet(world, 50)
    liar.advertise(ttl_s=LIFETIME_S_MAX + 1)
    assert known(user) == set()
    liar.advertise(ttl_s=LIFETIME_S_MAX)
    assert known(user) == {liar.did}


def test_an_advert_with_an_absurd_amount_is_dropped(world, user):
    liar = Puppet(world, 50)
    advert = Advert(
        peer_id=liar.peer_id,
        addresses=(),
        sequence=1,
        total=ResourceVector(cpu_millis=2**60),
    )
    data = seal(
        advert,
        kind=ADVERT,
        signer=liar.key,
        audience=topic_audience(ADVERT_TOPIC),
        now_s=world.now.unix_s,
        ttl_s=60,
        nonce=b"n" * 16,
    )
    assert open_adverts([data], now_s=world.now.unix_s).adverts == ()


def test_a_price_raised_after_the_bid_does_not_matter_to_the_one_who_set_a_limit(world):
    provider = world.peer(1, cpus=2, price=9)
    asker = Puppet(world, 50)
    args = asker.submit_args(spec(price_micro_ntx_max=8))

    heard = asker.command(asker.dial(provider), provider, SUBMIT, args)

    assert code_of(heard) == "provider.never-price"
    assert provider.jobs == {}


def test_a_flood_of_frames_that_answer_nothing_changes_nothing(world, user):
    world.peer(1, cpus=2)
    job = place(user, spec())
    before = list(user.journal)
    liar = Puppet(world, 50)
    session = liar.dial(user)
    for frame in range(1, 50):
        liar.say(session, notice(liar, user, job), re=frame)
    user.give(ins.FrameRejected(session=2, frame=None, re=None, code="x", reason="y"))
    world.run()
    assert user.journal == before
