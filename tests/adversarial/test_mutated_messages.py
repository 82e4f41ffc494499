"""A hundred thousand messages that nobody meant, against everything that reads any.

The frames of an honest story (a job, a share, a cancel, a revocation) are bent in
every way that bends bytes, and given to the very nodes that the story made. Nothing
may come of any of them: no fact, no work, no leave to read, no exception but the one
that ends a session. Mutations are drawn from fixed seeds, so that a failure comes back.
"""

import random

import pytest

from nunet_node.capability.held.parcel import pack, unpack
from nunet_node.capability.revocation import open_revocation
from nunet_node.errors import MisuseError, PeerError
from nunet_node.identity.challenge import SESSION_CHALLENGES_MAX
from nunet_node.identity.did import parse_did
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.identity.wallet import Identity, decode_identity, encode_identity
from nunet_node.jobs.job_file import read_job_file
from nunet_node.jobs.link import format_link, parse_link
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.facts import FACT_BYTES_MAX, Fact
from nunet_node.protocol.messages import READ
from nunet_node.protocol.opening import (
    advert_is_authentic,
    open_frame,
    revocation_is_authentic,
)
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import read_sign1
from nunet_node.wire.schema import decode_record, encode_record
from tests.unit.protocol.puppet import Puppet
from tests.unit.protocol.trust.givers import (
    COLD,
    FRIEND,
    link,
    place_for,
    revocation,
    revoke,
)
from tests.unit.protocol.world import World, audiences, place, snapshot, spec

ROUNDS = 10
MESSAGES_PER_ROUND = 10_000
TEXTS = 4_000

HARMLESS = (
    fx.Send,
    fx.CloseSession,
    fx.SetTimer,
    fx.CancelTimer,
    fx.Tell,
    fx.Publish,
    fx.OpenSession,
)
"""What may come of a bent message: words, and clocks."""


def story():
    """Let an honest network live, and return its nodes with all that they said."""
    world, frames, published = World(), [], []

    def note(_peer, effect):
        if isinstance(effect, fx.Send):
            frames.append(effect.data)
        elif isinstance(effect, fx.Publish):
            published.append(effect.data)

    world.watch = note
    provider, home = world.peer(1, cpus=2), world.peer(2)
    gift, friend = link(COLD, home.user), Puppet(world, 60, user=FRIEND)
    home.holdings.add([gift])
    first, second = place(home, spec()), place_for(home, COLD, spec())
    provider.finish()
    provider.store()
    home.give(ins.ReadWanted(job=first))
    home.give(ins.LogsWanted(job=first))
    home.give(ins.ReportWanted(job=second))
    world.run()
    home.give(ins.CancelWanted(job=second))
    world.run()
    friend.command(friend.dial(provider), provider, READ, {"job": first})
    revoke(home, revocation(COLD, gift), provider)
    world.run(for_s=30)
    return world, provider, home, sorted(set(frames)), sorted(set(published))


WORLD, PROVIDER, HOME, FRAMES, PUBLISHED = story()


def bent(data, chance, other):
    """Return these bytes, altered in one of the ways that bytes can be."""
    place, width = chance.randrange(len(data) or 1), chance.randrange(1, 40)
    start = chance.randrange(len(other) or 1)
    head, noise = data[:place], chance.randbytes(chance.randrange(1, 9))
    bit = bytes([(data[place] if data else 0) ^ (1 << chance.randrange(8))])
    return chance.choice(
        [
            head + bit + data[place + 1 :],
            head,
            head + noise,
            head + data[place + width :],
            head + other[start : start + 5 * width],
            head + noise + data[place + len(noise) :],
            head + data[place : place + width] + data[place:],
        ]
    )


def rewritten(data, chance, other):
    """Return these bytes with one value inside altered, in strict CBOR again."""
    try:
        plain = cbor.decode(data, bytes_max=1 << 20)
        return cbor.encode(_altered(plain, chance))
    except (PeerError, MisuseError):
        return bent(data, chance, other)


def _altered(value, chance):  # noqa: PLR0911 - one way for each type
    match value:
        case dict() if value and chance.random() < 0.9:
            name = chance.choice(sorted(value))
            rest = {k: v for k, v in value.items() if k != name}
            if chance.random() < 0.2:
                return rest
            return {**rest, name: _altered(value[name], chance)}
        case tuple() if value and chance.random() < 0.9:
            place = chance.randrange(len(value))
            changed = _altered(value[place], chance)
            return (*value[:place], changed, *value[place + 1 :])
        case bytes() if len(value) > 40 and chance.random() < 0.9:
            return rewritten(value, chance, value)
        case bytes() if value and chance.random() < 0.7:
            return bent(value, chance, value)
        case int() if not isinstance(value, bool) and chance.random() < 0.7:
            return value + chance.choice([-1, 1, 1000, 2**31, -value, 2**62])
    odd = [None, True, False, 0, -1, 2**53, "", "x" * 300, b"", (), {}, {"a": ({},)}]
    return chance.choice([*odd, Cid.of_raw(b"odd")])


def test_the_story_itself_is_read():
    kinds = {
        type(open_frame(1, data, now_s=WORLD.now.unix_s, audiences=(), own_did=""))
        for data in FRAMES
    }
    assert ins.FrameReceived in kinds
    assert len(FRAMES) > 30
    assert all(
        advert_is_authentic(data) or revocation_is_authentic(data) for data in PUBLISHED
    )


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("peer", [PROVIDER, HOME], ids=["provider", "home"])
def test_nothing_comes_of_a_message_that_was_bent(peer, seed):
    chance = random.Random(seed)
    session = 1_000_000 + seed
    opened = ins.SessionOpened(session=session, peer_id=HOME.peer_id, ours=False)
    peer.node.handle(opened, WORLD.now)
    before = snapshot(peer.node)
    for _ in range(MESSAGES_PER_ROUND // 2):
        alter = chance.choice((bent, rewritten))
        data = alter(chance.choice(FRAMES), chance, chance.choice(FRAMES))
        try:
            given = open_frame(
                session,
                data,
                now_s=WORLD.now.unix_s,
                audiences=audiences(peer),
                own_did=peer.did,
            )
        except PeerError:
            continue
        batch = peer.node.handle(given, WORLD.now)
        assert batch.facts == ()
        assert all(isinstance(effect, HARMLESS) for effect in batch.effects)
    assert snapshot(peer.node) == before
    assert len(peer.node._provider.desk.challenges) <= SESSION_CHALLENGES_MAX
    peer.node.handle(ins.SessionClosed(session=session), WORLD.now)
    assert len(peer.node._provider.desk.challenges) == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_bent_gossip_is_authentic(seed):
    chance = random.Random(seed)
    for _ in range(TEXTS):
        whole = chance.choice(PUBLISHED)
        data = bent(whole, chance, chance.choice(PUBLISHED))
        if data not in PUBLISHED:
            assert not advert_is_authentic(data)
            assert not revocation_is_authentic(data)


DECODERS = {
    "cbor": (lambda d: cbor.decode(d, bytes_max=1 << 20), FRAMES),
    "sign1": (lambda d: read_sign1(d, bytes_max=1 << 20), PUBLISHED),
    "cid": (Cid.from_bytes, [Cid.of_raw(b"").to_bytes()]),
    "revocation": (open_revocation, PUBLISHED),
    "fact": (
        lambda d: decode_record(Fact, d, bytes_max=FACT_BYTES_MAX),
        [encode_record(fact) for fact in (*PROVIDER.journal, *HOME.journal)],
    ),
}
JOB_FILE = """version: 1
name: x
command: [sh, -c, "ls"]
env: {A: b}
resources: {cpus: 0.5, memory: 512MiB}
"""
READERS = {
    "did": (parse_did, COLD.did),
    "peer-id": (did_of_peer_id, HOME.peer_id),
    "cid": (Cid.parse, str(Cid.of_raw(b""))),
    "link": (parse_link, format_link("a" * 32, COLD.did, COLD.did, ("/ip4/1.2.3.4",))),
    "token": (unpack, pack([link(COLD, FRIEND).data])),
    "identity": (decode_identity, encode_identity(Identity(name="x", key=COLD))),
    "job-file": (read_job_file, JOB_FILE),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_of_bytes_reads_or_refuses(name):
    read, whole = DECODERS[name]
    chance = random.Random(name)
    for _ in range(TEXTS):
        alter = chance.choice((bent, rewritten))
        data = alter(chance.choice(whole), chance, chance.choice(whole))
        try:
            value = read(data)
        except PeerError:
            continue
        if name == "cbor":
            assert cbor.encode(value) == data


@pytest.mark.parametrize("name", READERS)
def test_a_reader_of_text_reads_or_refuses(name):
    read, whole = READERS[name]
    chance, data, refused = random.Random(name), whole.encode(), 0
    for _ in range(TEXTS):
        text = bent(data, chance, data).decode(
            errors=chance.choice(["replace", "ignore"])
        )
        try:
            read(text)
        except PeerError:
            refused += 1
    assert refused
