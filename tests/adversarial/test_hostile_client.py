"""A client that knows the protocol and keeps to nothing of it, at a node's door.

Rule: each attack is answered by a signed refusal or by an end of its own stream; the
node goes on serving others, and what the attack costs it is bounded.
"""

import os
import struct
from collections import Counter
from contextlib import suppress
from itertools import product

import psutil
import pytest
import trio

from tests.e2e.network import network
from tests.interop.stranger import client, trees, wire
from tests.interop.stranger.client import BLOCKS, BULK, LOGS, RESOURCES, Job
from tests.interop.stranger.session import (
    CONTROL,
    FRAME_BYTES_MAX,
    ClosedError,
    RefusedError,
    Session,
    stranger,
)
from tests.interop.stranger.wire import Identity

SESSIONS_PER_PEER_MAX = 16
GROWTH_BYTES_MAX = 64 << 20
"""More than any attack here makes a node grow, and less than what they send."""

STATUS = "/nunet/job/status"
ABOUT = {"job": "a" * 32}
ASKED = {"id": 1, "body": {"kind": "adverts-wanted"}}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with network(tmp_path_factory.mktemp("hostile")) as made:
        yield made.provider(cpus=4)


@pytest.fixture
async def guest(node):
    async with stranger(node.address, node.did) as made:
        yield made


@pytest.fixture(autouse=True)
async def _others_are_served_and_nothing_is_kept(node):
    process = psutil.Process(node.pid)
    before = process.memory_info().rss
    yield
    async with stranger(node.address, node.did) as other, other.session() as session:
        assert await client.adverts(session)
    assert process.memory_info().rss - before < GROWTH_BYTES_MAX
    assert "Traceback" not in node.err.text()


def framed(data):
    return struct.pack(">I", len(data)) + data


def frame(value):
    return framed(wire.encode(value))


NO_FRAMES = {
    "an empty one": framed(b""),
    "one byte too long": struct.pack(">I", FRAME_BYTES_MAX + 1) + b"x",
    "four gigabytes": b"\xff" * 4,
    "noise": framed(b"\xff" * 50),
    "a number": framed(b"\x01"),
    "bytes after it": framed(wire.encode(ASKED) + b"\0"),
    "a longer head": framed(wire.encode(ASKED).replace(b"bid\x01", b"bid\x18\x01")),
    "a kind nobody knows": frame({**ASKED, "body": {"kind": "hello"}}),
    "a field too many": frame({**ASKED, "zzz": 1}),
    "a default spelt out": frame({**ASKED, "re": None}),
    "the number zero": frame({**ASKED, "id": 0}),
    "a float": frame({**ASKED, "id": 1.5}),
    "no definite length": framed(b"\xbf\xff"),
    "a hundred thousand brackets": framed(b"\x81" * 100_000 + b"\x01"),
    "a claim of exabytes": framed(b"\x5b\x7f" + b"\xff" * 7),
    "a name twice": framed(b"\xa2\x62id\x01\x62id\x01"),
    "seventeen proofs": frame(
        {"id": 1, "body": {"kind": "invoke", "invocation": b"", "proofs": [b"x"] * 17}}
    ),
}


async def test_what_is_no_frame_ends_its_own_stream_alone(guest):
    async with guest.session() as beside:
        for protocol, (what, data) in product(
            (CONTROL, BLOCKS, BULK, LOGS), NO_FRAMES.items()
        ):
            stream = await guest.stream(protocol)
            await stream.send_raw(data)
            with pytest.raises(ClosedError):
                raise AssertionError(protocol, what, await stream.receive())
        assert await client.adverts(beside)


async def test_a_bulk_stream_opened_with_a_wrong_step_ends(guest):
    for protocol, body in product((BLOCKS, BULK, LOGS), WRONG_STEPS):
        stream = await guest.stream(protocol)
        await stream.send(body)
        with pytest.raises(ClosedError):
            raise AssertionError(protocol, body, await stream.receive())


ROOT = wire.cid_of(b"no such tree")
WRONG_STEPS = (
    {"kind": "want", "cids": []},
    {"kind": "want", "cids": [wire.link(bytes(36))]},
    {"kind": "block", "size_bytes": 5},
    {"kind": "staged"},
    {"kind": "no"},
    {"kind": "offer", "job": "a" * 32, "attempt": 0, "root": wire.link(ROOT)},
    {"kind": "follow", "job": "a" * 32, "attempt": 17},
    {"kind": "follow", "job": "a" * 32, "attempt": 1, "stdout_from": -1},
    {"kind": "piece", "stream": "stdout", "data": b""},
)


async def test_nothing_is_had_without_a_grant(guest):
    stream = await guest.stream(BLOCKS)
    assert [await client.block(stream, ROOT) for _ in range(3)] == [None] * 3
    offer = await guest.stream(BLOCKS)
    link = wire.link(ROOT)
    await offer.send({"kind": "offer", "job": "a" * 32, "attempt": 1, "root": link})
    assert await offer.receive() == {"kind": "no"}
    bulk = await guest.stream(BULK)
    await bulk.send({"kind": "ticket-wanted"})
    assert await bulk.receive() == {"kind": "no"}


async def refused(sending):
    with pytest.raises(RefusedError) as refusal:
        await sending
    return refusal.value.refusal["code"]


async def challenged(session, owner):
    request = session.request(owner.did, owner.did, STATUS, ABOUT)
    return request, await session.challenge(owner.did, request)


def presented(session, signer, request, challenge):
    token = wire.invoke(signer, request, challenge)
    return refused(session.ask(session.invocation(token)))


async def test_an_answer_counts_once_in_one_session_for_one_request(node, guest):
    owner, thief = Identity(), Identity()
    async with guest.session() as one, guest.session() as two:
        request, challenge = await challenged(one, owner)
        assert await presented(two, owner, request, challenge) == "challenge.unknown"
        async with stranger(node.address, node.did) as other, other.session() as far:
            got = await presented(far, owner, request, challenge)
            assert got == "challenge.unknown"
        assert await presented(one, owner, request, challenge) == "job.unknown"
        assert await presented(one, owner, request, challenge) == "challenge.unknown"
        for change in (
            {"args": {"job": "b" * 32}},
            {"cmd": "/nunet/job/cancel"},
            {"iss": thief.did, "sub": thief.did},
        ):
            request, challenge = await challenged(one, owner)
            odd = {**request, **change}
            signer = thief if "iss" in change else owner
            assert await presented(one, signer, odd, challenge) == "challenge.mismatch"
            again = await presented(one, owner, request, challenge)
            assert again == "challenge.unknown"


async def test_a_challenge_names_the_peer_that_asked_and_no_other(node, guest):
    owner = Identity()
    async with stranger(node.address, node.did) as other, other.session() as far:
        request = far.request(owner.did, owner.did, STATUS, ABOUT)
        body = await far.ask(
            {
                "kind": "challenge-wanted",
                "subject": owner.did,
                "command": STATUS,
                "request_digest": wire.request_digest(request),
            }
        )
        made = far.opened(body, "challenge", owner.did)
    assert made.value["subject_peer"] == other.peer.peer_id != guest.peer.peer_id


UNKNOWN = "challenge.unknown"
NEVER_MADE = ("challenge.missing", UNKNOWN)
"""Codes of orders that present no challenge, so that none is spent."""

TOKENS = {
    "nothing at all": (lambda *_: b"", "wire.truncated"),
    "another's signature": (
        lambda _, request, made: wire.invoke(Identity(), request, made),
        "capability.signature",
    ),
    "for another node": (
        lambda owner, request, made: wire.invoke(
            owner, {**request, "aud": Identity().did}, made
        ),
        "capability.audience",
    ),
    "another's job without a proof": (
        lambda owner, request, made: wire.invoke(
            owner, {**request, "sub": Identity().did}, made
        ),
        "capability.claim",
    ),
    "a proof that was not sent": (
        lambda owner, request, made: wire.invoke(owner, request, made, (b"proof",)),
        "capability.unavailable-proof",
    ),
    "an order for ever": (
        lambda owner, request, made: _token(owner, request, made, exp=None),
        "capability.claim",
    ),
    "an order of yesterday": (
        lambda owner, request, made: _token(owner, request, made, exp=1),
        "capability.expired",
    ),
    "a field too many": (
        lambda owner, request, made: _token(owner, request, made, zzz=1),
        "wire.schema",
    ),
    "no challenge": (
        lambda owner, request, _: wire.invoke(owner, request, None),
        "challenge.missing",
    ),
    "a challenge of one's own": (
        lambda owner, request, _: wire.invoke(owner, request, os.urandom(32)),
        "challenge.unknown",
    ),
}


def _token(owner, request, made, **changes):
    args = {**request["args"], "challenge": made}
    payload = {**request, "args": args, "prf": [], "nonce": os.urandom(12), **changes}
    return wire.token(owner, "ucan/inv@1.0.0", payload)


async def test_a_bent_order_is_refused_by_its_code(guest):
    owner = Identity()
    async with guest.session() as session:
        for what, (bend, code) in TOKENS.items():
            request, challenge = await challenged(session, owner)
            token = bend(owner, request, challenge)
            assert await refused(session.ask(session.invocation(token))) == code, what
            # An answer that fails spends the challenge, or voids them all.
            again = await presented(session, owner, request, challenge)
            assert again == ("job.unknown" if code in NEVER_MADE else UNKNOWN), what


async def test_a_half_said_word_and_a_half_closed_stream_end(guest):
    for data in (b"", b"\0\0", frame(ASKED)[:-1]):
        stream = await guest.stream(CONTROL)
        if data:
            await stream.send_raw(data)
        await stream.finish()
        with pytest.raises(ClosedError):
            raise AssertionError(data, await stream.receive())
    whole = await guest.stream(CONTROL)
    await whole.send(ASKED)
    await whole.finish()
    # The question ends with the session, unless its answer was quicker.
    with trio.fail_after(60):
        await whole.ended()


async def test_two_hundred_streams_at_once_are_sixteen_sessions(node, guest):
    told, telling = trio.open_memory_channel(200)

    async def crowd():
        try:
            stream = await guest.stream(CONTROL)
            assert await client.adverts(Session(stream, guest.peer, node.did))
        except Exception:  # noqa: BLE001 - the library has many words for a reset
            told.send_nowait("reset")
        else:
            told.send_nowait("answered")

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(crowd)
        with trio.fail_after(60):
            counted = Counter([await telling.receive() for _ in range(200)])
    assert counted == {"answered": SESSIONS_PER_PEER_MAX, "reset": 184}


async def test_a_flood_of_questions_holds_up_nobody_else(node, guest):
    flooding = trio.Event()

    async def flood():
        stream = await guest.stream(CONTROL)
        with suppress(ClosedError):
            while True:
                await stream.send_raw(frame(ASKED) * 200)
                flooding.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await flooding.wait()
        async with stranger(node.address, node.did) as other, other.session() as asking:
            with trio.fail_after(60):
                for _ in range(10):
                    assert await client.adverts(asking)
        nursery.cancel_scope.cancel()


LIES = {
    "another block": lambda data: (len(data), bytes(len(data))),
    "a shorter one": lambda data: (len(data) - 1, data[:-1]),
    "an empty one": lambda _: (0, b""),
    "more than any block": lambda _: (2_097_153, b""),
}


async def test_lies_in_a_hand_over_end_it_and_the_truth_still_counts(node, guest):
    tree = trees.pack({"job.py": b"print(1)", "more": bytes(3_000_000)})
    owner = Identity()
    async with guest.session() as session:
        found = await client.adverts(session)
        engines = [offer["engine"] for each in found for offer in each.value["engines"]]
        job = Job(
            owner,
            {
                "name": "lied-to",
                "engine": "process" if "process" in engines else "python",
                "command": ["true"] if "process" in engines else ["job.py"],
                "inputs": wire.link(tree.root),
                "inputs_bytes": tree.size_bytes,
                "resources": RESOURCES,
                "timeouts": {"run_s": 60},
            },
        )
        await client.submit(session, job)
        link = wire.link(tree.root)
        offer = {"kind": "offer", "job": job.id, "attempt": 1, "root": link}
        async with stranger(node.address, node.did) as other:
            stream = await other.stream(BLOCKS)
            await stream.send(offer)
            assert await stream.receive() == {"kind": "no"}, "not who submitted"
        for what, lie in LIES.items():
            stream = await guest.stream(BLOCKS)
            await stream.send(offer)
            wanted = wire.linked((await stream.receive())["cids"][0])
            size_bytes, data = lie(tree.blocks[wanted])
            await stream.send({"kind": "block", "size_bytes": size_bytes})
            with pytest.raises(ClosedError):
                await stream.send_raw(data)
                raise AssertionError(what, await stream.receive())
        assert await client.hand_over(guest, job, tree) == len(tree.blocks)
        ended = await client.follow_to(session, job, "completed")
        await client.result(guest, session, job)
        async with stranger(node.address, node.did) as other:
            stream = await other.stream(BLOCKS)
            for root in (tree.root, wire.linked(ended.value["result"])):
                assert await client.block(stream, root) is None, "granted to others"
