"""Whoever can bend a did:web's document, or the looking up of it, gains nothing by it.

Each refusal is of the frame itself, before it means anything; and what a stranger can
have us ask of others, and hold for it, stays as small as it is for one honest user.
"""

import itertools
import json
import tracemalloc

import pytest
import trio

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.invocation import CHALLENGE_ARG, Invocation, seal_invocation
from nunet_node.capability.revocation import seal_revocation
from nunet_node.identity.did import Did, resolve
from nunet_node.identity.document import KEYS_MAX, KEYS_TRIED_MAX
from nunet_node.identity.keys import SigningKey, WebSigningKey
from nunet_node.identity.methods.did_web import document_under
from nunet_node.network import did_web
from nunet_node.network.did_web import fetch_document
from nunet_node.protocol.inputs import FrameReceived, FrameRejected
from nunet_node.protocol.messages import Frame, Invoke, Revocations
from nunet_node.protocol.opening import revocation_is_authentic
from nunet_node.protocol.trust.signers import FRAME_WEBS_MAX
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.naming import documents as naming
from nunet_node.runtime.naming.documents import PEER_RATE, WebDocuments
from nunet_node.runtime.naming.frames import Frames
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record
from tests.web_kit import open_web, page, published

NODE = SigningKey(b"n" * 32)
SEED, OTHER = b"a" * 32, b"b" * 32
NOW_S = 1_700_000_000
LATER_S = NOW_S + 60
CANCEL = "/nunet/job/cancel"
NONCES = itertools.count(1)


def nonce():
    return next(NONCES).to_bytes(16, "big")


def signer(did, seed=SEED):
    return WebSigningKey(seed, did)


def invoke(key, *proofs, subject=None, audience=NODE.did, **changes):
    data = seal_invocation(
        signer=key,
        subject=subject or key.did,
        audience=audience,
        command=CANCEL,
        args={"job": "x", CHALLENGE_ARG: bytes(32)},
        nonce=nonce(),
        proofs=[Cid.of_dag_cbor(each) for each in proofs],
        **{"expires_at_s": LATER_S, **changes},
    )
    return Invoke(invocation=data, proofs=proofs)


def give(key, audience, subject=None):
    return seal_delegation(
        signer=key,
        audience=audience,
        subject=subject or key.did,
        command=CANCEL,
        nonce=nonce(),
        expires_at_s=LATER_S,
    )


class Door:
    """Where a node takes frames in, with servers that a test bends."""

    def __init__(self, web, fetch, tasks):
        self.web = web
        self.documents = WebDocuments(fetch, tasks)
        clock = Clock(lambda: NOW_S)
        self.frames = Frames(NODE.did, lambda: {NODE.did}, clock, self.documents)

    async def take(self, body, peer="peer"):
        data = encode_record(Frame(id=1, body=body))
        finding = self.frames.find(peer, data)
        found = naming.Documents() if finding is None else await finding
        return self.frames.open(2, data, found)

    async def is_taken(self, body, peer="peer"):
        taken = await self.take(body, peer)
        return isinstance(taken, FrameReceived) and isinstance(taken.body, Invocation)

    async def refused(self, body, peer="peer"):
        taken = await self.take(body, peer)
        assert isinstance(taken, FrameRejected)
        return taken.code


@pytest.fixture
async def web(tmp_path):
    async with open_web(tmp_path) as made:
        yield made


@pytest.fixture
async def door(web, nursery):
    return Door(web, web.fetch, nursery)


@pytest.fixture
def alice(web):
    did = web.did("alice")
    key = signer(did)
    web.publish(did, key.key_did)
    return key


async def test_the_key_of_the_document_is_its_owner(door, web, alice):
    assert await door.is_taken(invoke(alice))
    assert await door.is_taken(invoke(alice))
    assert web.asked == ["/alice/did.json"]


async def test_a_key_that_the_document_does_not_name_is_nobody(door, web, alice):
    forged = invoke(signer(alice.did, OTHER))
    assert await door.refused(forged) == "capability.signature"


async def test_a_document_that_is_swapped_between_frames_counts_from_then_on(
    door, web, alice, monkeypatch
):
    monkeypatch.setattr(naming, "FRESH_S", 0)
    assert await door.is_taken(invoke(alice))
    new = signer(alice.did, OTHER)
    web.publish(alice.did, new.key_did)
    assert await door.refused(invoke(alice)) == "capability.signature"
    assert await door.is_taken(invoke(new))


async def test_both_keys_count_while_one_follows_the_other(door, web, alice):
    new = signer(alice.did, OTHER)
    web.publish(alice.did, new.key_did, alice.key_did)
    assert await door.is_taken(invoke(alice))
    assert await door.is_taken(invoke(new))


async def test_the_document_of_another_name_is_refused(door, web, alice):
    web.publish(alice.did, alice.key_did, id=web.did("mallory"))
    assert await door.refused(invoke(alice)) == "identity.unresolved"


@pytest.mark.parametrize(
    "answer",
    [
        lambda body: [page(body + b" " * (64 << 10))],
        lambda body: [page(body, length=1 << 40)],
        lambda body: [page(body, "302 Found", more="Location: https://10.0.0.1/\r\n")],
        lambda body: [page(body, "404 Not Found")],
        lambda body: [page(body[:-1])],
        lambda body: [b"\0" * 100_000],
        lambda _body: [],
    ],
    ids=["oversize", "endless", "redirect", "absent", "cut", "noise", "silence"],
)
async def test_an_answer_that_is_not_the_document_is_refused(door, web, alice, answer):
    body = published(alice.did, alice.key_did)
    web.answers["/alice/did.json"] = answer(body)
    assert await door.refused(invoke(alice)) == "identity.unresolved"
    assert await door.refused(invoke(alice)) == "identity.unresolved"
    assert web.asked == ["/alice/did.json"]


async def test_a_server_that_does_not_answer_holds_nobody_up(
    door, web, alice, monkeypatch
):
    monkeypatch.setattr(did_web, "FETCH_S", 0.2)
    web.held = trio.Event()
    assert await door.refused(invoke(alice)) == "identity.unresolved"
    assert await door.is_taken(invoke(NODE), "other")


async def test_no_address_of_our_own_network_is_asked(nursery, web, alice):
    async def fetch(did):
        return await fetch_document(did, context=web.context)

    door = Door(web, fetch, nursery)
    taken = await door.take(invoke(alice))
    assert taken.code == "identity.unresolved"
    assert "127.0.0.1" not in taken.reason
    assert web.asked == []


@pytest.mark.parametrize(
    ("lacks", "code"),
    [
        ("authentication", "identity.key-type"),
        ("capabilityInvocation", "identity.key-type"),
        ("capabilityDelegation", None),
        ("assertionMethod", None),
        ("keyAgreement", None),
    ],
)
async def test_a_command_needs_a_key_for_commands_and_for_challenges(
    door, web, alice, lacks, code
):
    web.publish(alice.did, alice.key_did, **{lacks: []})
    taken = await door.take(invoke(alice))
    assert getattr(taken, "code", None) == code


async def test_a_key_that_may_command_may_not_therefore_delegate(door, web, alice):
    hot = SigningKey(OTHER)
    proof = give(alice, hot.did)
    assert await door.is_taken(invoke(hot, proof, subject=alice.did))
    web.publish(web.did("bob"), alice.key_did, capabilityDelegation=[])
    bob = signer(web.did("bob"))
    proof = give(bob, hot.did)
    refused = await door.refused(invoke(hot, proof, subject=bob.did))
    assert refused == "identity.key-type"


async def test_a_document_full_of_keys_costs_few_signature_checks(
    door, web, alice, monkeypatch
):
    keys = [SigningKey(bytes([n]) * 32).did for n in range(1, KEYS_MAX // 2)]
    web.publish(alice.did, *keys)
    tried = []
    verify = type(resolve(alice.key_did).signing.public).verify

    def counted(key, message, signature):
        tried.append(key)
        return verify(key, message, signature)

    kind = type(resolve(alice.key_did).signing.public)
    monkeypatch.setattr(kind, "verify", counted)
    assert await door.refused(invoke(alice)) == "capability.signature"
    assert len(tried) == KEYS_TRIED_MAX


async def test_a_frame_that_is_wrong_anyway_has_nobody_asked(door, web, alice):
    elsewhere = invoke(alice, audience=SigningKey(OTHER).did)
    assert await door.refused(elsewhere) == "capability.audience"
    late = invoke(alice, expires_at_s=NOW_S - 1)
    assert await door.refused(late) == "capability.expired"
    assert web.asked == []


async def test_a_chain_through_many_servers_has_few_of_them_asked(door, web, alice):
    links, whole = [signer(web.did(f"n{n}")) for n in range(8)], []
    for giver, taker in itertools.pairwise(links):
        web.publish(giver.did, giver.key_did)
        whole.append(give(giver, taker.did, links[0].did))
    web.publish(links[-1].did, links[-1].key_did)
    body = invoke(links[-1], *whole, subject=links[0].did)
    assert await door.refused(body) == "identity.unresolved"
    assert len(web.asked) == FRAME_WEBS_MAX


async def test_a_flood_of_names_asks_few_servers_and_holds_little(nursery):
    asked = []

    async def fetch(did):
        asked.append(did)
        await trio.lowlevel.checkpoint()
        return document_under(did, resolve(SigningKey(SEED).did))

    door = Door(None, fetch, nursery)
    honest = signer(Did("did:web:honest.example.net"))
    flood = [invoke(signer(Did(f"did:web:x.h{n}.org"))) for n in range(400)]
    began_s = trio.current_time()
    tracemalloc.start()
    taken = [await door.is_taken(body, "flood") for body in flood]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    due = PEER_RATE.burst + (trio.current_time() - began_s) * PEER_RATE.per_s
    assert sum(taken) == len(asked) == len(door.documents) <= due
    assert peak_bytes < 4 << 20
    assert await door.is_taken(invoke(honest), "honest")


async def test_a_revocation_by_a_did_web_is_believed_on_its_document_alone(
    door, web, alice
):
    token = give(alice, SigningKey(OTHER).did)
    forged = WebSigningKey(OTHER, alice.did)
    for key, believed in ((forged, 0), (alice, 1)):
        data = seal_revocation(signer=key, tokens=[token], nonce=nonce(), now_s=NOW_S)
        taken = await door.take(Revocations(items=(data,)))
        assert len(taken.body.revocations) == believed
        # Gossip judges bytes alone, so none of them may be gossiped.
        assert not revocation_is_authentic(data)
        assert all(each.leans for each in taken.body.revocations)


async def test_a_document_cannot_speak_for_a_name_that_carries_its_own(door, web):
    victim = SigningKey(OTHER)
    web.publish(web.did("evil"), SigningKey(SEED).did)
    body = json.loads(published(web.did("evil"), SigningKey(SEED).did))
    web.answers["/evil/did.json"] = [
        page(json.dumps({**body, "alsoKnownAs": [victim.did]}).encode())
    ]
    liar = signer(web.did("evil"))
    assert await door.is_taken(invoke(liar))
    proof = give(liar, liar.did, victim.did)
    refused = await door.refused(invoke(liar, proof, subject=victim.did))
    assert refused == "capability.subject"


async def test_a_did_peer_commands_with_what_it_carries_and_no_server_is_asked(
    door, web
):
    text = SigningKey(SEED).did.removeprefix("did:key:")
    both = signer(Did(f"did:peer:2.V{text}.I{text}"))
    assert await door.is_taken(invoke(both))
    assert await door.refused(invoke(signer(both.did, OTHER))) == "capability.signature"
    alone = signer(Did(f"did:peer:2.I{text}"))
    assert await door.refused(invoke(alone)) == "identity.key-type"
    assert web.asked == []
