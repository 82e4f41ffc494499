"""Bytes that must never change: a node of another version reads them too.

`wire.json` holds seeds, inputs and the bytes they make. A change of these bytes is
a change of protocol, and needs a new version in the kind or the tag.
"""

import json
from pathlib import Path

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.invocation import open_invocation, seal_invocation
from nunet_node.identity.challenge import (
    CHALLENGE_KIND,
    Challenge,
    ChallengeBook,
    challenge_digest,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import open_statement
from nunet_node.jobs.secrets import SecretsUse, open_secrets, seal_secrets
from nunet_node.jobs.specification import JobSpec, job_id_of
from nunet_node.quantities import Now
from nunet_node.wire.cid import Cid
from nunet_node.wire.framing import frame
from nunet_node.wire.schema import decode_record, encode_record
from tests.vectors import sealed

VECTORS = json.loads(Path(__file__).with_name("wire.json").read_text())
OWNER, NODE, DELEGATE = (
    SigningKey(bytes.fromhex(VECTORS["seeds"][name]))
    for name in ("owner", "node", "delegate")
)
NOW_S = VECTORS["now_s"]
ARGS = {"job": bytes.fromhex(VECTORS["args_job"]), "cpu_millis": 500}


def issued():
    book = ChallengeBook(signer=NODE, boot=bytes(16))
    return book.issue(
        "session",
        subject=DELEGATE.did,
        subject_peer=peer_id_of(DELEGATE.did),
        command=VECTORS["command"],
        request_digest=bytes.fromhex(VECTORS["request_digest"]),
        nonce=bytes(range(32)),
        now=Now(unix_s=NOW_S, elapsed_ns=0),
    )


def delegation():
    return seal_delegation(
        signer=OWNER,
        audience=DELEGATE.did,
        subject=OWNER.did,
        command="/nunet/job",
        nonce=bytes(range(12)),
        expires_at_s=NOW_S + 3600,
        policy=[["<=", ".cpu_millis", 500]],
    )


def invocation():
    challenge = challenge_digest(bytes.fromhex(VECTORS["challenge"]))
    return seal_invocation(
        signer=DELEGATE,
        subject=OWNER.did,
        audience=NODE.did,
        command=VECTORS["command"],
        args={**ARGS, "challenge": challenge},
        nonce=bytes(range(12)),
        expires_at_s=NOW_S + 60,
        proofs=[Cid.of_dag_cbor(delegation())],
    )


@pytest.mark.parametrize("name", ["owner", "node", "delegate"])
def test_a_seed_makes_its_did_and_its_peer_id(name):
    did = SigningKey(bytes.fromhex(VECTORS["seeds"][name])).did
    assert did == VECTORS["dids"][name]
    assert peer_id_of(did) == VECTORS["peer_ids"][name]


def test_a_challenge_is_the_same_statement():
    assert issued().data.hex() == VECTORS["challenge"]
    statement = open_statement(
        issued().data,
        kind=CHALLENGE_KIND,
        payload_type=Challenge,
        now_s=NOW_S,
        audience=DELEGATE.did,
    )
    assert statement.message_id.hex() == VECTORS["challenge_message_id"]


def test_a_delegation_is_the_same_token():
    assert delegation().hex() == VECTORS["delegation"]
    assert str(open_delegation(delegation()).cid) == VECTORS["delegation_cid"]


def test_an_invocation_is_the_same_token_for_the_same_request():
    assert invocation().hex() == VECTORS["invocation"]
    opened = open_invocation(
        invocation(),
        now_s=NOW_S,
        audience=NODE.did,
        proofs={Cid.of_dag_cbor(delegation()): delegation()},
    )
    assert opened.request_digest().hex() == VECTORS["request_digest"]


def test_a_frame_is_the_same_bytes():
    assert frame(b"nunet").hex() == VECTORS["frame_of_nunet"]


def test_a_job_has_the_same_id():
    said = VECTORS["job"]
    data = bytes.fromhex(said["spec"])
    spec = decode_record(JobSpec, data, bytes_max=len(data))
    assert encode_record(spec) == data
    cid = Cid.of_dag_cbor(data)
    assert str(cid) == said["spec_cid"]
    salt = bytes.fromhex(said["salt"])
    assert job_id_of(said["owner"], cid, salt) == said["job"]


def test_a_result_is_sealed_to_the_same_bytes():
    assert sealed.FILE.read_text() == sealed.text()


def test_the_secrets_of_a_job_are_these_bytes_when_sealed():
    want = VECTORS["secrets"]
    use = SecretsUse(
        job=VECTORS["job"]["job"],
        attempt=want["attempt"],
        provider=NODE.did,
        owner=OWNER.did,
    )
    assert use.context.hex() == want["info"]
    values = {name: bytes.fromhex(text) for name, text in want["values"].items()}
    ephemeral = bytes.fromhex(want["ephemeral_secret"])
    made = seal_secrets(values, use, ephemeral_secret=ephemeral)
    assert made.hex() == want["sealed"]
    secret = NODE.key_agreement_secret()
    assert open_secrets(made, use, values, reader_secret=secret) == values
