"""A challenge is answered once, by whom it was made for, about what it names."""

import msgspec
import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.challenge import (
    CHALLENGE_KIND,
    CHALLENGE_TTL_S,
    CHALLENGES_MAX,
    SESSION_CHALLENGES_MAX,
    Challenge,
    ChallengeBook,
    Refusal,
    answer_mismatch,
    challenge_digest,
    check_challenge,
)
from nunet_node.identity.errors import ChallengeError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import open_statement
from nunet_node.quantities import Now

NODE = SigningKey(b"n" * 32)
OTHER = SigningKey(b"o" * 32)
USER = SigningKey(b"u" * 32)
USER_PEER = peer_id_of(USER.did)
NS = 1_000_000_000
NOW = Now(unix_s=1_700_000_000, elapsed_ns=5 * NS)
REQUEST = {
    "subject": USER.did,
    "command": "/nunet/job/submit",
    "request_digest": b"r" * 32,
}


def book():
    return ChallengeBook(signer=NODE, boot=b"b" * 16)


def issue(challenges, session="s", number=0, now=NOW):
    # A statement's id is the nonce's beginning, so vary both of its ends.
    return challenges.issue(
        session,
        subject_peer=USER_PEER,
        nonce=number.to_bytes(16, "big") * 2,
        now=now,
        **REQUEST,
    )


def later(seconds):
    return Now(unix_s=NOW.unix_s, elapsed_ns=NOW.elapsed_ns + seconds * NS)


def opened(issued):
    return open_statement(
        issued.data,
        kind=CHALLENGE_KIND,
        payload_type=Challenge,
        now_s=NOW.unix_s,
        audience=USER.did,
    )


def test_a_challenge_names_both_ends_and_the_request():
    issued = issue(book())
    challenge = opened(issued).payload
    assert challenge == issued.challenge
    assert (challenge.verifier, challenge.subject) == (NODE.did, USER.did)
    assert challenge.verifier_peer == peer_id_of(NODE.did)
    assert challenge.subject_peer == USER_PEER
    assert challenge.boot == b"b" * 16
    assert issued.digest == challenge_digest(issued.data)


def test_a_challenge_is_spent_once():
    challenges = book()
    issued = issue(challenges)
    assert challenges.spend("s", issued.digest, NOW) == issued.challenge
    assert challenges.spend("s", issued.digest, NOW).code == "challenge.unknown"


def test_a_challenge_of_another_session_is_unknown_and_stays_open():
    challenges = book()
    issued = issue(challenges)
    assert challenges.spend("t", issued.digest, NOW).code == "challenge.unknown"
    assert challenges.spend("s", issued.digest, NOW) == issued.challenge


def test_a_challenge_expires_by_the_clock_that_never_steps():
    challenges = book()
    issued = issue(challenges)
    late = later(CHALLENGE_TTL_S + 1)
    assert challenges.spend("s", issued.digest, late).code == "challenge.expired"
    assert challenges.spend("s", issued.digest, NOW).code == "challenge.unknown"
    in_time = issue(challenges, number=1)
    assert challenges.spend("s", in_time.digest, later(CHALLENGE_TTL_S))


def test_a_wall_clock_that_steps_back_revives_nothing():
    challenges = book()
    issued = issue(challenges)
    challenges.spend("s", issued.digest, NOW)
    past = Now(unix_s=NOW.unix_s - 3600, elapsed_ns=NOW.elapsed_ns + 1)
    assert challenges.spend("s", issued.digest, past).code == "challenge.unknown"


def test_challenges_die_with_their_session():
    challenges = book()
    mine, other = issue(challenges, number=1), issue(challenges, "t", 2)
    challenges.end_session("s")
    challenges.end_session("never began")
    assert isinstance(challenges.spend("s", mine.digest, NOW), Refusal)
    assert challenges.spend("t", other.digest, NOW) == other.challenge


def test_challenges_die_with_the_process():
    issued = issue(book())
    assert isinstance(book().spend("s", issued.digest, NOW), Refusal)


def test_one_session_cannot_hold_many():
    challenges = book()
    for number in range(SESSION_CHALLENGES_MAX):
        assert not isinstance(issue(challenges, number=number), Refusal)
    assert issue(challenges, number=99).code == "challenge.too-many"
    assert not isinstance(issue(challenges, "t", 100), Refusal)
    assert not isinstance(
        issue(challenges, number=101, now=later(CHALLENGE_TTL_S + 1)), Refusal
    )


def test_what_has_expired_is_forgotten():
    challenges = book()
    for number in range(20):
        issue(challenges, f"s{number}", number)
    assert len(challenges) == 20
    issue(challenges, "s", 20, later(CHALLENGE_TTL_S + 1))
    assert len(challenges) == 1


def test_all_sessions_together_cannot_hold_more_than_fits(monkeypatch):
    monkeypatch.setattr("nunet_node.identity.challenge.CHALLENGES_MAX", 3)
    challenges = book()
    kinds = [type(issue(challenges, f"s{n}", n)) for n in range(5)]
    assert kinds.count(Refusal) == 2
    assert len(challenges) == 3 < CHALLENGES_MAX


def test_a_nonce_that_is_used_twice_is_a_bug_of_ours():
    challenges = book()
    issue(challenges)
    with pytest.raises(MisuseError):
        issue(challenges)


def check(issued, **changes):
    given = {"dialled": NODE.did, "own_peer": USER_PEER, **REQUEST}
    check_challenge(opened(issued), **{**given, **changes})


def test_an_honest_challenge_is_answered():
    check(issue(book()))


@pytest.mark.parametrize(
    "changes",
    [
        {"dialled": OTHER.did},
        {"own_peer": peer_id_of(OTHER.did)},
        {"subject": OTHER.did},
        {"command": "/nunet/job/cancel"},
        {"request_digest": b"x" * 32},
    ],
)
def test_a_challenge_about_something_else_is_not_answered(changes):
    with pytest.raises(ChallengeError):
        check(issue(book()), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"verifier": OTHER.did}, {"verifier_peer": peer_id_of(OTHER.did)}],
)
def test_a_challenge_that_names_another_node_is_not_answered(changes):
    statement = opened(issue(book()))
    payload = msgspec.structs.replace(statement.payload, **changes)
    with pytest.raises(ChallengeError):
        check_challenge(
            msgspec.structs.replace(statement, payload=payload),
            dialled=NODE.did,
            own_peer=USER_PEER,
            **REQUEST,
        )


def test_a_challenge_that_another_node_signed_is_not_answered():
    statement = msgspec.structs.replace(opened(issue(book())), issuer=OTHER.did)
    with pytest.raises(ChallengeError):
        check_challenge(statement, dialled=NODE.did, own_peer=USER_PEER, **REQUEST)


def test_an_answer_is_compared_in_every_part():
    challenge = issue(book()).challenge
    assert answer_mismatch(challenge, **REQUEST) is None
    for name, other in (
        ("subject", OTHER.did),
        ("command", "/nunet/job"),
        ("request_digest", bytes(32)),
    ):
        refusal = answer_mismatch(challenge, **{**REQUEST, name: other})
        assert refusal.code == "challenge.mismatch"
