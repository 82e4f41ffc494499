"""Nobody turns a signed message into another one, in any way, by any byte.

Mutations are drawn from a fixed seed, so that a failure comes back.
"""

import random

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.invocation import open_invocation, seal_invocation
from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import open_statement, seal
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

OWNER, NODE = SigningKey(b"o" * 32), SigningKey(b"n" * 32)
NOW_S = 1_700_000_000
MUTATIONS = 3_000


class Fact(Record):
    text: str
    amount: int
    cid: Cid


STATEMENT = seal(
    Fact(text="it rains", amount=7, cid=Cid.of_raw(b"")),
    kind="fact",
    signer=OWNER,
    audience=NODE.did,
    now_s=NOW_S,
    ttl_s=60,
    nonce=bytes(range(16)),
)
DELEGATION = seal_delegation(
    signer=OWNER,
    audience=NODE.did,
    subject=OWNER.did,
    command="/nunet/job",
    nonce=bytes(12),
    expires_at_s=NOW_S + 60,
    policy=[("<=", ".cpu", 500), ("like", ".image", "a*")],
)
INVOCATION = seal_invocation(
    signer=OWNER,
    subject=OWNER.did,
    audience=NODE.did,
    command="/nunet/job/submit",
    args={"cpu": 500, "challenge": bytes(32), "files": ["a", "b"]},
    nonce=bytes(12),
    expires_at_s=NOW_S + 60,
)


def open_a_statement(data):
    return open_statement(
        data, kind="fact", payload_type=Fact, now_s=NOW_S, audience=NODE.did
    )


def open_an_invocation(data):
    return open_invocation(data, now_s=NOW_S, audience=NODE.did, proofs={})


MESSAGES = pytest.mark.parametrize(
    ("data", "read"),
    [
        (STATEMENT, open_a_statement),
        (DELEGATION, open_delegation),
        (INVOCATION, open_an_invocation),
    ],
    ids=["statement", "delegation", "invocation"],
)


def flipped(data, chance):
    place = chance.randrange(len(data))
    changed = data[place] ^ (1 << chance.randrange(8))
    return data[:place] + bytes([changed]) + data[place + 1 :]


def cut(data, chance):
    return data[: chance.randrange(len(data))]


def spliced(data, chance):
    start, stop, to = (chance.randrange(len(data)) for _ in range(3))
    return data[:to] + data[min(start, stop) : max(start, stop)] + data[to:]


def overwritten(data, chance):
    place = chance.randrange(len(data))
    noise = chance.randbytes(chance.randrange(1, 9))
    return data[:place] + noise + data[place + len(noise) :]


@MESSAGES
def test_the_message_itself_is_opened(data, read):
    assert read(data)


@MESSAGES
@pytest.mark.parametrize("mutate", [flipped, cut, spliced, overwritten])
def test_a_mutated_message_is_never_opened(data, read, mutate):
    chance = random.Random(7)
    for _ in range(MUTATIONS // 4):
        changed = mutate(data, chance)
        if changed == data:
            continue
        with pytest.raises(PeerError):
            read(changed)


@MESSAGES
def test_every_single_bit_counts(data, read):
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(PeerError):
            read(changed)


@MESSAGES
def test_noise_is_never_opened_and_never_crashes(data, read):
    chance = random.Random(11)
    for length in range(1, 400):
        with pytest.raises(PeerError):
            read(chance.randbytes(length))
        with pytest.raises(PeerError):
            read(data[:3] + chance.randbytes(length))


def test_one_kind_of_message_is_never_opened_as_another():
    for data, read in (
        (STATEMENT, open_delegation),
        (STATEMENT, open_an_invocation),
        (DELEGATION, open_a_statement),
        (DELEGATION, open_an_invocation),
        (INVOCATION, open_a_statement),
        (INVOCATION, open_delegation),
    ):
        with pytest.raises(PeerError):
            read(data)
