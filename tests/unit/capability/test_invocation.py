"""A command is opened if its issuer may give it, here, now, with these arguments."""

import hashlib

import pytest

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.errors import (
    ExpiredError,
    InvalidAudienceError,
    InvalidClaimError,
    InvalidSignatureError,
    MatchError,
    RevokedError,
    UnavailableProofError,
)
from nunet_node.capability.invocation import (
    open_invocation,
    request_digest,
    seal_invocation,
)
from nunet_node.errors import MisuseError
from nunet_node.identity.errors import InvalidDidError
from nunet_node.identity.keys import SigningKey
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import SchemaError, TooLargeError

OWNER, DELEGATE, NODE, OTHER = (SigningKey(bytes([i]) * 32) for i in range(1, 5))
ARGS = {"cpu": 500, "files": ("a", "b"), "spec": Cid.of_raw(b"")}
PROOF = seal_delegation(
    signer=OWNER,
    audience=DELEGATE.did,
    subject=OWNER.did,
    command="/nunet/job",
    nonce=bytes(12),
    expires_at_s=1000,
    policy=[("<=", ".cpu", 500)],
)
PROOF_CID = Cid.of_dag_cbor(PROOF)


def sealed(**changes):
    given = {
        "signer": OWNER,
        "subject": OWNER.did,
        "audience": NODE.did,
        "command": "/nunet/job/submit",
        "args": ARGS,
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_invocation(**{**given, **changes})


def delegated(**changes):
    return sealed(**{"signer": DELEGATE, "proofs": [PROOF_CID], **changes})


def opened(data, **changes):
    given = {"now_s": 500, "audience": NODE.did, "proofs": {PROOF_CID: PROOF}}
    return open_invocation(data, **{**given, **changes})


def by_hand(signer=OWNER, **changes):
    payload = {
        "iss": OWNER.did,
        "sub": OWNER.did,
        "aud": NODE.did,
        "cmd": "/nunet/job/submit",
        "args": ARGS,
        "prf": [],
        "nonce": bytes(12),
        "exp": 1000,
        **changes,
    }
    payload = {name: value for name, value in payload.items() if value != "absent"}
    body = {"h": bytes.fromhex("3401ed01ed011371"), "ucan/inv@1.0.0": payload}
    return cbor.encode([signer.sign(cbor.encode(body)), body])


def test_an_owners_command_is_opened_as_it_was_sealed():
    data = sealed(issued_at_s=499)
    invocation = opened(data)
    assert (invocation.issuer, invocation.subject) == (OWNER.did, OWNER.did)
    assert (invocation.audience, invocation.command) == (NODE.did, "/nunet/job/submit")
    assert invocation.args == ARGS
    assert invocation.proofs == ()
    assert (invocation.nonce, invocation.expires_at_s) == (bytes(12), 1000)
    assert invocation.cid == Cid.of_dag_cbor(data)
    assert invocation.data == data


def test_a_command_is_the_bytes_that_the_specification_says():
    assert sealed() == by_hand()


def test_a_delegates_command_brings_its_proof():
    invocation = opened(delegated())
    assert (invocation.issuer, invocation.subject) == (DELEGATE.did, OWNER.did)
    assert [proof.cid for proof in invocation.proofs] == [PROOF_CID]


@pytest.mark.parametrize(
    ("data", "changes", "error"),
    [
        (sealed(), {"now_s": 1001}, ExpiredError),
        (sealed(), {"audience": OTHER.did}, InvalidAudienceError),
        (sealed(), {"revoked": {Cid.of_dag_cbor(sealed())}}, RevokedError),
        (sealed(), {"bytes_max": 100}, TooLargeError),
        (sealed(signer=OTHER), {}, InvalidClaimError),
        (delegated(), {"proofs": {}}, UnavailableProofError),
        (delegated(), {"revoked": {PROOF_CID}}, RevokedError),
        (delegated(args={"cpu": 501}), {}, MatchError),
        (delegated(args={}), {}, MatchError),
        (delegated(command="/nunet/result/read"), {}, InvalidClaimError),
        (delegated(signer=OTHER), {}, InvalidAudienceError),
        (by_hand(signer=OTHER), {}, InvalidSignatureError),
        (by_hand(aud="absent"), {}, InvalidAudienceError),
        (by_hand(exp=None), {}, InvalidClaimError),
        (by_hand(cmd="/nunet/job/submit/"), {}, InvalidClaimError),
        (by_hand(iss=OWNER.did + " "), {}, InvalidDidError),
        (by_hand(sub=None), {}, SchemaError),
        (by_hand(args=[]), {}, SchemaError),
        (by_hand(args="absent"), {}, SchemaError),
        (by_hand(prf="absent"), {}, SchemaError),
        (by_hand(prf=[PROOF]), {}, SchemaError),
        (by_hand(nonce="absent"), {}, SchemaError),
        (by_hand(exp="absent"), {}, SchemaError),
        (by_hand(exp=True), {}, SchemaError),
        (by_hand(more=1), {}, SchemaError),
    ],
)
def test_a_command_that_must_not_act_is_refused(data, changes, error):
    with pytest.raises(error):
        opened(data, **changes)


def test_a_command_holds_through_its_last_second():
    assert opened(sealed(), now_s=1000)


def test_a_command_without_an_expiry_passes_only_if_asked_for():
    assert opened(by_hand(exp=None), must_expire=False).expires_at_s is None


def test_a_missing_audience_means_the_subject():
    data = by_hand(aud="absent")
    assert opened(data, audience=OWNER.did).audience == OWNER.did
    assert opened(data, audience=None).audience == OWNER.did


def test_notes_on_a_command_carry_no_authority():
    data = by_hand(meta={"note": "x"}, cause=PROOF_CID, iat=7)
    assert opened(data).issuer == OWNER.did


def test_the_request_digest_leaves_out_the_challenge_alone():
    digest = request_digest(OWNER.did, OWNER.did, NODE.did, "/nunet/job/submit", ARGS)
    answered = opened(sealed(args={**ARGS, "challenge": bytes(32)}))
    assert answered.request_digest() == digest
    assert opened(sealed()).request_digest() == digest
    plain = {
        "iss": OWNER.did,
        "sub": OWNER.did,
        "aud": NODE.did,
        "cmd": "/nunet/job/submit",
        "args": ARGS,
    }
    assert digest == hashlib.sha256(cbor.encode(plain)).digest()


@pytest.mark.parametrize("index", range(5))
def test_the_request_digest_covers_every_part(index):
    parts = [OWNER.did, OWNER.did, NODE.did, "/nunet/job/submit", ARGS]
    others = [OTHER.did, OTHER.did, OTHER.did, "/nunet/job/cancel", {"cpu": 500}]
    changed = [*parts[:index], others[index], *parts[index + 1 :]]
    assert request_digest(*parts) != request_digest(*changed)


def test_a_command_that_cannot_be_encoded_is_a_bug_of_ours():
    with pytest.raises(MisuseError):
        sealed(args={"price": 1.5})
