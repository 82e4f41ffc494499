"""A node in the middle cannot use a user's answer at another node.

The honest client refuses to answer; and where it is made to, the node that made the
challenge refuses the answer.
"""

import pytest

from nunet_node.capability.errors import InvalidAudienceError
from nunet_node.capability.invocation import (
    open_invocation,
    request_digest,
    seal_invocation,
)
from nunet_node.identity.challenge import (
    CHALLENGE_KIND,
    Challenge,
    ChallengeBook,
    Refusal,
    answer_mismatch,
    check_challenge,
)
from nunet_node.identity.errors import ChallengeError, WrongAudienceError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import open_statement
from nunet_node.quantities import Now

NODE, MIDDLE, USER, THIEF = (SigningKey(bytes([i]) * 32) for i in range(1, 5))
USER_PEER = SigningKey(b"p" * 32)
NOW = Now(unix_s=1_700_000_000, elapsed_ns=0)
SUBMIT = "/nunet/job/submit"
ARGS = {"job": b"j" * 32}


def digest(audience=NODE, issuer=USER, command=SUBMIT, args=ARGS):
    return request_digest(issuer.did, issuer.did, audience.did, command, args)


def book(node=NODE):
    return ChallengeBook(signer=node, boot=b"b" * 16)


def issue(challenges, peer=USER_PEER, subject=USER, number=0, asked=None):
    return challenges.issue(
        peer.did,
        subject=subject.did,
        subject_peer=peer_id_of(peer.did),
        command=SUBMIT,
        request_digest=asked or digest(),
        nonce=number.to_bytes(16, "big") * 2,
        now=NOW,
    )


def answer(issued, signer=USER, audience=NODE, command=SUBMIT, args=ARGS):
    return seal_invocation(
        signer=signer,
        subject=signer.did,
        audience=audience.did,
        command=command,
        args={**args, "challenge": issued.digest},
        nonce=bytes(12),
        expires_at_s=NOW.unix_s + 60,
    )


def accepted(challenges, data, session=USER_PEER.did):
    invocation = open_invocation(data, now_s=NOW.unix_s, audience=NODE.did, proofs={})
    challenge = challenges.spend(session, invocation.args["challenge"], NOW)
    if isinstance(challenge, Refusal):
        return challenge
    return answer_mismatch(
        challenge,
        subject=invocation.issuer,
        command=invocation.command,
        request_digest=invocation.request_digest(),
    )


def opened(issued, audience=USER):
    return open_statement(
        issued.data,
        kind=CHALLENGE_KIND,
        payload_type=Challenge,
        now_s=NOW.unix_s,
        audience=audience.did,
    )


def test_the_honest_answer_is_accepted():
    challenges = book()
    assert accepted(challenges, answer(issue(challenges))) is None


def test_a_client_does_not_answer_a_challenge_that_was_passed_on():
    issued = issue(book(), peer=MIDDLE, asked=digest(audience=MIDDLE))
    with pytest.raises(ChallengeError):
        check_challenge(
            opened(issued),
            dialled=MIDDLE.did,
            own_peer=peer_id_of(USER_PEER.did),
            subject=USER.did,
            command=SUBMIT,
            request_digest=digest(audience=MIDDLE),
        )


def test_a_client_does_not_open_a_challenge_for_somebody_else():
    with pytest.raises(WrongAudienceError):
        opened(issue(book(), subject=THIEF), audience=USER)


def test_a_node_does_not_take_an_answer_that_was_made_for_another():
    challenges = book()
    data = answer(issue(challenges), audience=MIDDLE)
    with pytest.raises(InvalidAudienceError):
        accepted(challenges, data)


def test_a_node_does_not_take_an_answer_from_another_session():
    challenges = book()
    data = answer(issue(challenges))
    assert accepted(challenges, data, MIDDLE.did).code == "challenge.unknown"


def test_an_answer_is_taken_once():
    challenges = book()
    data = answer(issue(challenges))
    assert accepted(challenges, data) is None
    assert accepted(challenges, data).code == "challenge.unknown"


def test_somebody_elses_signature_spends_the_challenge():
    challenges = book()
    issued = issue(challenges)
    assert (
        accepted(challenges, answer(issued, signer=THIEF)).code == "challenge.mismatch"
    )
    assert accepted(challenges, answer(issued)).code == "challenge.unknown"


@pytest.mark.parametrize(
    "changes", [{"command": "/nunet/job/cancel"}, {"args": {"job": b"k" * 32}}]
)
def test_an_answer_asks_for_nothing_but_what_was_challenged(changes):
    challenges = book()
    data = answer(issue(challenges), **changes)
    assert accepted(challenges, data).code == "challenge.mismatch"


def test_a_restart_voids_every_challenge():
    data = answer(issue(book()))
    assert accepted(book(), data).code == "challenge.unknown"


def test_ten_thousand_requests_from_one_peer_leave_room_for_others():
    challenges = book()
    refused = sum(
        isinstance(issue(challenges, MIDDLE, number=number), Refusal)
        for number in range(10_000)
    )
    assert refused == 10_000 - len(challenges)
    assert not isinstance(issue(challenges, number=10_000), Refusal)
