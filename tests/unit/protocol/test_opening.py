"""Nothing unverified reaches the node."""

import pytest

from nunet_node.errors import PeerError
from nunet_node.identity.challenge import CHALLENGE_KIND
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import CLOCK_SKEW_S, Statement, seal, topic_audience
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import NOTICE, Notice
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, BID, REFUSAL, Advert, Bid
from nunet_node.market.offers import Refusal as MarketRefusal
from nunet_node.protocol.inputs import AdvertsHeard, FrameReceived, FrameRejected
from nunet_node.protocol.messages import (
    Adverts,
    AdvertsWanted,
    ChallengeWanted,
    Frame,
    Refused,
    Stated,
)
from nunet_node.protocol.opening import (
    STATEMENTS,
    advert_is_authentic,
    open_advert,
    open_adverts,
    open_frame,
)
from nunet_node.wire.schema import encode_record

ALICE, BOB, EVE = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
NOW_S = 1_700_000_000
A_BID = Bid(call=b"c" * 16, price_micro_ntx=1)


def statement(payload=A_BID, kind=BID, *, audience=BOB.did, signer=ALICE, **more):
    given = {"now_s": NOW_S, "ttl_s": 60, "nonce": b"n" * 16}
    return seal(
        payload, kind=kind, signer=signer, audience=audience, **{**given, **more}
    )


def opened(body, *, now_s=NOW_S, re=None):
    return open_frame(
        5,
        encode_record(Frame(id=3, body=body, re=re)),
        now_s=now_s,
        audiences={BOB.did},
        own_did=BOB.did,
    )


def test_a_statement_for_us_is_opened():
    heard = opened(Stated(statement_kind=BID, data=statement()), re=9)
    assert isinstance(heard, FrameReceived)
    assert (heard.session, heard.frame, heard.re) == (5, 3, 9)
    assert isinstance(heard.body, Statement)
    assert (heard.body.issuer, heard.body.payload) == (ALICE.did, A_BID)


@pytest.mark.parametrize(
    "body",
    [
        Stated(statement_kind=BID, data=statement(audience=EVE.did)),
        Stated(statement_kind=REFUSAL, data=statement()),
        Stated(statement_kind=CHALLENGE_KIND, data=statement()),
        Stated(statement_kind="unheard-of", data=statement()),
        Stated(statement_kind=BID, data=statement()[:-1] + b"\x00"),
        Stated(statement_kind=BID, data=b""),
        Stated(statement_kind=BID, data=statement(network_id="nunet-test")),
        Stated(statement_kind=BID, data=statement(now_s=NOW_S - 100)),
        Stated(statement_kind=BID, data=statement(now_s=NOW_S + CLOCK_SKEW_S + 2)),
        Refused(data=statement()),
    ],
)
def test_what_does_not_hold_is_rejected_with_a_code(body):
    heard = opened(body)
    assert isinstance(heard, FrameRejected)
    assert heard.frame == 3
    assert heard.code
    assert heard.reason


def test_a_refusal_is_a_statement_too():
    said = MarketRefusal(code="x", reason="why")
    heard = opened(Refused(data=statement(said, REFUSAL)))
    assert heard.body.payload == said


def test_facts_about_jobs_are_read_after_any_time():
    said = Notice(
        job="a" * 32,
        owner=BOB.did,
        attempt=1,
        sequence=1,
        previous=b"",
        state=State.QUEUED,
        at_s=1,
    )
    stated = Stated(statement_kind=NOTICE, data=statement(said, NOTICE))
    assert isinstance(opened(stated, now_s=NOW_S + 10**8), FrameReceived)


def test_offers_and_challenges_must_be_fresh():
    fresh = {kind for kind, (_, must_be_fresh) in STATEMENTS.items() if must_be_fresh}
    assert {BID, CHALLENGE_KIND, REFUSAL} <= fresh
    assert NOTICE not in fresh


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\xff" * 50])
def test_what_is_no_frame_ends_the_session(data):
    with pytest.raises(PeerError):
        open_frame(1, data, now_s=NOW_S, audiences={BOB.did}, own_did=BOB.did)


def test_plain_requests_need_no_signature():
    assert opened(AdvertsWanted()).body == AdvertsWanted()


@pytest.mark.parametrize(
    ("subject", "code"),
    [("anybody", "identity.did"), ("did:web:a.example", "identity.did-method")],
)
def test_a_challenge_is_made_for_a_did_alone(subject, code):
    wanted = ChallengeWanted(
        subject=subject, command="/nunet/job/status", request_digest=bytes(32)
    )
    heard = opened(wanted)
    assert isinstance(heard, FrameRejected)
    assert heard.code == code


def advert(signer=ALICE, of=ALICE, **more):
    said = Advert(peer_id=peer_id_of(of.did), addresses=(), sequence=1)
    audience = topic_audience(ADVERT_TOPIC)
    return statement(said, ADVERT, audience=audience, signer=signer, **more)


def test_only_the_adverts_that_verify_are_heard():
    good, bad = advert(), advert(signer=EVE)
    heard = opened(Adverts(items=(bad, good, b"junk")))
    assert isinstance(heard.body, AdvertsHeard)
    assert [a.data for a in heard.body.adverts] == [good]
    assert open_adverts((), now_s=NOW_S).adverts == ()


@pytest.mark.parametrize("hours", [-1, 1])
def test_genuine_adverts_of_another_time_are_counted(hours):
    when_s = NOW_S + hours * 3600
    heard = open_adverts((advert(), b"junk"), now_s=when_s)
    assert (heard.adverts, heard.stale) == ((), 1)


def test_an_advert_of_another_peer_is_refused():
    with pytest.raises(PeerError):
        open_advert(advert(signer=EVE), now_s=NOW_S)


def test_gossip_is_judged_by_its_bytes_alone():
    assert advert_is_authentic(advert())
    assert advert_is_authentic(advert(now_s=1)), "a stale advert is nobody's fault"
    assert not advert_is_authentic(advert(signer=EVE))
    assert not advert_is_authentic(advert()[:-1])
    assert not advert_is_authentic(b"")
    assert not advert_is_authentic(statement())
