"""Those whom a delegation's power came from may take it back, and nobody else."""

import pytest

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.invocation import seal_invocation
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX
from nunet_node.capability.revocation import (
    REVOCATION_KEPT_S,
    REVOKE,
    judge_revocation,
    open_revocation,
    seal_revocation,
)
from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid

OWNER, TEAM, PERSON, STRANGER = (SigningKey(bytes([i]) * 32) for i in range(1, 5))


def link(giver, taker, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": OWNER.did,
        "command": "/nunet/job",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_delegation(**{**given, **changes})


FIRST = link(OWNER, TEAM)
SECOND = link(TEAM, PERSON)


@pytest.mark.parametrize(
    ("revoker", "tokens"),
    [
        (OWNER, [FIRST]),
        (TEAM, [SECOND]),
        (TEAM, [FIRST, SECOND]),
        (OWNER, [FIRST, SECOND]),
    ],
)
def test_its_issuer_and_those_above_may_revoke(revoker, tokens):
    revocation = judge_revocation(revoker.did, tokens)
    assert revocation.cid == Cid.of_dag_cbor(tokens[-1])
    assert revocation.revoker == revoker.did
    assert revocation.keep_until_s == 1000 + REVOCATION_KEPT_S


@pytest.mark.parametrize(
    ("revoker", "tokens"),
    [
        (PERSON, [SECOND]),
        (PERSON, [FIRST, SECOND]),
        (STRANGER, [FIRST, SECOND]),
        (OWNER, [SECOND]),
        (TEAM, [SECOND, FIRST]),
        (STRANGER, [link(STRANGER, TEAM, subject=STRANGER.did), SECOND]),
        (STRANGER, [link(STRANGER, TEAM), SECOND]),
        (STRANGER, [link(STRANGER, TEAM, subject=None), SECOND]),
        (
            STRANGER,
            [
                link(STRANGER, TEAM, subject=STRANGER.did),
                link(TEAM, PERSON, subject=None),
            ],
        ),
        (
            STRANGER,
            [
                link(OWNER, STRANGER, command="/nunet/job/status"),
                link(STRANGER, TEAM, command="/nunet/job/status"),
                SECOND,
            ],
        ),
        (OWNER, []),
        (OWNER, [FIRST] * (CHAIN_LINKS_MAX + 1)),
    ],
)
def test_nobody_else_may(revoker, tokens):
    with pytest.raises(CapabilityError):
        judge_revocation(revoker.did, tokens)


def test_a_token_that_is_none_cannot_be_revoked():
    with pytest.raises(PeerError):
        judge_revocation(OWNER.did, [b"\xa0"])


def sealed(signer, *tokens):
    return seal_revocation(signer=signer, tokens=tokens, nonce=bytes(12), now_s=0)


def test_a_signed_revocation_proves_itself_whenever_it_is_read():
    data = sealed(OWNER, FIRST, SECOND)
    revocation = open_revocation(data)
    assert revocation.cid == Cid.of_dag_cbor(SECOND)
    assert revocation.revoker == OWNER.did
    assert revocation.data == data


def test_a_stranger_cannot_even_sign_one():
    with pytest.raises(CapabilityError):
        sealed(STRANGER, FIRST, SECOND)


def swapped(data, **changes):
    plain = cbor.decode(data, bytes_max=len(data))
    return cbor.encode({**plain, **changes})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        swapped(sealed(OWNER, FIRST), tokens=()),
        swapped(sealed(OWNER, FIRST), tokens=(FIRST, SECOND)),
        swapped(sealed(OWNER, FIRST), tokens=(SECOND,)),
        swapped(sealed(OWNER, FIRST), invocation=FIRST),
        swapped(sealed(OWNER, FIRST), more=1),
    ],
)
def test_a_revocation_that_was_altered_is_refused(data):
    with pytest.raises(PeerError):
        open_revocation(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "/nunet/job/cancel"},
        {"args": {"ucan": Cid.of_dag_cbor(SECOND)}},
        {"args": {"ucan": Cid.of_dag_cbor(FIRST), "more": 1}},
        {"audience": TEAM.did},
        {"signer": STRANGER, "subject": STRANGER.did, "audience": STRANGER.did},
    ],
)
def test_a_command_about_something_else_revokes_nothing(changes):
    given = {
        "signer": OWNER,
        "subject": OWNER.did,
        "audience": OWNER.did,
        "command": REVOKE,
        "args": {"ucan": Cid.of_dag_cbor(FIRST)},
        "nonce": bytes(12),
        "expires_at_s": 10,
    }
    invocation = seal_invocation(**{**given, **changes})
    with pytest.raises(PeerError):
        open_revocation(swapped(sealed(OWNER, FIRST), invocation=invocation))


def test_a_revocation_too_large_for_gossip_is_not_signed():
    large = link(OWNER, TEAM, meta={"words": "x" * 16_000})
    with pytest.raises(CapabilityError, match="at most"):
        sealed(OWNER, large)
