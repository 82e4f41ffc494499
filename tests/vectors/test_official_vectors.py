"""The vectors that the standards' own authors publish, where they are at hand.

They are not kept in this repository; each rule is tested on cases of our own too.
"""

import base64
import json
from pathlib import Path

import pytest

from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.invocation import open_invocation
from nunet_node.capability.policy import parse_policy
from nunet_node.errors import PeerError
from nunet_node.identity.did import Relationship, key_for, parse_did, resolve
from nunet_node.identity.errors import UnsupportedKeyError
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import read_sign1
from nunet_node.wire.errors import WireError

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the official vectors are not at hand"
)
POSITIVES_WITHIN_THE_SUBSET = 71
"""Of 128; the others hold floats, or content ids of kinds that are not spoken."""


def load(name):
    return json.loads((VECTORS / name).read_text())


def unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def token(dag_json):
    return unpadded(dag_json["/"]["bytes"])


def test_ipld_values_are_read_as_their_own_encoding_or_not_at_all():
    files = sorted((VECTORS / "dag-cbor/ipld-fixtures").glob("*/*.dag-cbor"))
    read = 0
    for file in files:
        data = file.read_bytes()
        try:
            plain = cbor.decode(data, bytes_max=2**20)
        except WireError:
            continue
        read += 1
        assert cbor.encode(plain) == data
        assert str(Cid.of_dag_cbor(data)) == file.stem
    assert read == POSITIVES_WITHIN_THE_SUBSET


def test_ipld_values_that_are_malformed_are_refused():
    folder = VECTORS / "dag-cbor/ipld-negative-fixtures/dag-cbor/decode"
    for file in folder.glob("*.json"):
        for case in json.loads(file.read_text()):
            with pytest.raises(WireError):
                cbor.decode(bytes.fromhex(case["hex"]), bytes_max=2**20)


def test_every_ucan_invocation_gets_the_verdict_of_its_authors():
    fixtures = load("ucan-1.0.0/invocation.json")
    verdicts = {}
    for case in fixtures["valid"] + fixtures["invalid"]:
        proofs = {Cid.of_dag_cbor(token(p)): token(p) for p in case["proofs"]}
        try:
            open_invocation(
                token(case["invocation"]),
                now_s=case["time"],
                audience=None,
                proofs=proofs,
                must_expire=False,
            )
        except CapabilityError as error:
            verdicts[case["name"]] = error.ucan_name
        else:
            verdicts[case["name"]] = None
    assert len(verdicts) == 20
    assert verdicts == {
        case["name"]: case.get("error", {}).get("name")
        for case in fixtures["valid"] + fixtures["invalid"]
    }


def whole(value):
    """Replace the fixtures' 1.0 by 1: floats are not spoken here."""
    if isinstance(value, float):
        assert value.is_integer()
        return int(value)
    if isinstance(value, list):
        return tuple(map(whole, value))
    if isinstance(value, dict):
        return {key: whole(part) for key, part in value.items()}
    return value


def repaired_policies():
    # One object in the file stands in braces twice, which is no JSON.
    lines = (VECTORS / "ucan-1.0.0/policy.json").read_text().splitlines()
    doubled = next(i for i, line in enumerate(lines) if line == "\t\t\t\t\t{")
    closing = lines.index("\t\t\t\t\t}", doubled)
    kept = [line for i, line in enumerate(lines) if i not in (doubled, closing)]
    return json.loads("\n".join(kept))


@pytest.mark.parametrize("verdict", ["valid", "invalid"])
def test_every_ucan_policy_gets_the_verdict_of_its_authors(verdict):
    for case in repaired_policies()[verdict]:
        for policy in case["policies"]:
            held = parse_policy(whole(policy)).holds(whole(case["args"]))
            assert held is (verdict == "valid"), policy


@pytest.mark.parametrize("name", ["ed25519-x25519", "secp256k1", "nist-curves"])
def test_every_published_did_is_its_own_spelling(name):
    for did in load(f"did-key/{name}.json"):
        if did.startswith(("did:key:z82", "did:key:z2J9")):
            with pytest.raises(UnsupportedKeyError):
                parse_did(did)
        else:
            assert parse_did(did) == did


def test_every_published_key_agreement_key_is_derived():
    for did, case in load("did-key/ed25519-x25519.json").items():
        fragment = case["keyAgreementKeyPair"]["id"].partition("#")[2]
        assert resolve(did).key_agreement_id == f"{did}#{fragment}"


def test_every_published_ecdsa_signature_gets_its_verdict():
    for case in load("did-key/signature-fixtures.json"):
        key = key_for(case["publicKeyDid"], Relationship.AUTHENTICATION)
        held = key.verify(
            unpadded(case["messageBase64"]), unpadded(case["signatureBase64"])
        )
        assert held is case["validSignature"], case["comment"]


def test_no_cose_example_is_of_the_one_form_that_is_spoken():
    for file in sorted((VECTORS / "cose").rglob("*.json")):
        data = json.loads(file.read_text()).get("output", {}).get("cbor")
        if data:
            with pytest.raises(PeerError):
                read_sign1(bytes.fromhex(data), bytes_max=2**16)
