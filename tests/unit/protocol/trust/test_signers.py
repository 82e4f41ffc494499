"""A frame names the did:webs that signed in it, and nobody besides."""

import pytest

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.invocation import seal_invocation
from nunet_node.capability.revocation import seal_revocation
from nunet_node.identity.did import Did
from nunet_node.identity.keys import SigningKey, WebSigningKey
from nunet_node.protocol.messages import (
    AdvertsWanted,
    ChallengeWanted,
    Frame,
    Invoke,
    Revocations,
)
from nunet_node.protocol.trust.signers import FRAME_WEBS_MAX, web_signers
from nunet_node.wire.schema import encode_record

NODE, PLAIN = SigningKey(b"n" * 32), SigningKey(b"p" * 32)
WEBS = [
    WebSigningKey(bytes([n]) * 32, Did(f"did:web:h{n}.example.com"))
    for n in range(1, 9)
]
ALICE, BOB, CAROL = WEBS[:3]
NOW_S = 1_700_000_000


def give(giver, taker, subject=None):
    return seal_delegation(
        signer=giver,
        audience=taker.did,
        subject=(subject or giver).did,
        command="/nunet",
        nonce=b"n" * 12,
        expires_at_s=NOW_S + 60,
    )


def invoke(signer, *proofs, audience=NODE.did, expires_at_s=NOW_S, **args):
    data = seal_invocation(
        signer=signer,
        subject=signer.did,
        audience=audience,
        command="/nunet/job/cancel",
        args=args,
        nonce=b"n" * 12,
        expires_at_s=expires_at_s,
    )
    return Invoke(invocation=data, proofs=proofs)


def named(body):
    data = encode_record(Frame(id=1, body=body))
    return web_signers(data, now_s=NOW_S, own_did=NODE.did)


def test_a_command_names_its_signer():
    assert named(invoke(ALICE)) == (ALICE.did,)


def test_a_chain_names_its_issuers_once_each_and_its_takers_not():
    proofs = give(ALICE, BOB), give(BOB, PLAIN), give(PLAIN, CAROL, ALICE)
    assert named(invoke(PLAIN, *proofs)) == (ALICE.did, BOB.did)


def test_no_frame_names_more_than_a_few():
    proofs = [give(each, PLAIN) for each in WEBS]
    assert named(invoke(PLAIN, *proofs)) == tuple(k.did for k in WEBS[:FRAME_WEBS_MAX])


@pytest.mark.parametrize(
    "body",
    [
        AdvertsWanted(),
        ChallengeWanted(
            subject=ALICE.did, command="/nunet/job/cancel", request_digest=bytes(32)
        ),
        invoke(PLAIN),
        invoke(PLAIN, said="did:web:h1.example.com"),
        invoke(PLAIN, give(PLAIN, ALICE)),
    ],
)
def test_what_no_did_web_signed_names_nobody(body):
    assert named(body) == ()


@pytest.mark.parametrize(
    "body",
    [
        invoke(ALICE, audience=PLAIN.did),
        invoke(ALICE, expires_at_s=NOW_S - 1),
        invoke(ALICE, b"did:web:x.example.com"),
        Invoke(invocation=b"did:web:x.example.com"),
        Revocations(items=(b"did:web:x.example.com",)),
    ],
)
def test_what_is_wrong_anyway_names_nobody(body):
    assert named(body) == ()


def test_what_is_no_frame_names_nobody():
    data = b"did:web:h1.example.com"
    assert web_signers(data, now_s=NOW_S, own_did=NODE.did) == ()


def test_a_revocation_names_who_signed_it_and_its_tokens():
    token = give(ALICE, BOB)
    data = seal_revocation(signer=ALICE, tokens=[token], nonce=b"n" * 12, now_s=NOW_S)
    assert named(Revocations(items=(b"bad", data))) == (ALICE.did,)
