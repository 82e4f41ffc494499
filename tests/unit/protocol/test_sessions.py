"""Sessions number their frames; a voice signs what is said on them."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import open_statement
from nunet_node.market.offers import BID, REFUSAL, Bid, Refusal
from nunet_node.protocol.effects import CloseSession, Send
from nunet_node.protocol.messages import AdvertsWanted, Frame
from nunet_node.protocol.sessions import FRESH_TTL_S, Sessions, Voice, require
from nunet_node.protocol.turn import Ledger, Turn
from nunet_node.quantities import Now
from nunet_node.wire.schema import decode_record

KEY, PEER = SigningKey(b"k" * 32), SigningKey(b"p" * 32)
NOW = Now(unix_s=1000, elapsed_ns=0)


@pytest.fixture
def turn():
    return Turn(Ledger(), NOW)


@pytest.fixture
def sessions():
    made = Sessions()
    made.add(1, peer_id_of(PEER.did), ours=True)
    made.add(2, peer_id_of(PEER.did), ours=False)
    return made


def sent(turn):
    return [
        (e.session, decode_record(Frame, e.data, bytes_max=1 << 20))
        for e in turn.batch().effects
        if isinstance(e, Send)
    ]


def test_each_session_numbers_its_own_frames_from_one(sessions, turn):
    for session in (1, 2, 1):
        sessions.send(turn, session, AdvertsWanted(), re=5)
    assert [(s, f.id, f.re) for s, f in sent(turn)] == [(1, 1, 5), (2, 1, 5), (1, 2, 5)]


def test_nothing_is_sent_on_a_session_that_is_gone(sessions, turn):
    sessions.remove(1)
    assert sessions.send(turn, 1, AdvertsWanted()) is None
    sessions.close(turn, 1)
    assert turn.batch().effects == ()


def test_only_an_open_session_is_closed(sessions, turn):
    sessions.close(turn, 2)
    assert turn.batch().effects == (CloseSession(session=2),)


def test_those_that_we_dialled_are_known(sessions):
    assert [s.id for s in sessions.ours()] == [1]
    assert sessions.get(2).peer_did == PEER.did


def test_a_frame_of_no_session_is_our_mistake(sessions):
    assert require(sessions.get(1)).id == 1
    with pytest.raises(MisuseError):
        require(sessions.get(99))


def test_what_a_voice_states_is_signed_for_its_audience_and_its_time(turn, sessions):
    voice = Voice(signer=KEY, nonce=lambda size: b"n" * size)
    bid = Bid(call=b"c", price_micro_ntx=1)
    stated = voice.answer(turn, BID, bid, PEER.did)
    heard = open_statement(
        stated.data, kind=BID, payload_type=Bid, now_s=1000, audience=PEER.did
    )
    assert (heard.issuer, heard.payload) == (KEY.did, bid)
    assert heard.expires_at_s == 1000 + FRESH_TTL_S


def test_a_refusal_is_signed_for_the_peer_of_the_session(turn, sessions):
    voice = Voice(signer=KEY, nonce=lambda size: b"n" * size)
    refusal = Refusal(code="x", reason="why")
    refused = voice.refuse(turn, sessions.get(2), refusal)
    heard = open_statement(
        refused.data,
        kind=REFUSAL,
        payload_type=Refusal,
        now_s=1000,
        audience=PEER.did,
    )
    assert heard.payload == refusal
