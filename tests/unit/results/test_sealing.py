"""Pieces hold their place, and keys go to one reader for one tree."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.identity.errors import UnsealError
from nunet_node.identity.keys import SigningKey
from nunet_node.results.errors import NoAgreementKeyError, SealError
from nunet_node.results.sealing import (
    PIECE_BYTES,
    TAG_BYTES,
    WRAPPED_KEY_BYTES,
    PieceOpener,
    Seal,
    StreamSealer,
    can_read,
    unwrap_key,
    wrap_key,
)
from nunet_node.wire.cid import Cid

KEY = bytes(range(32))
JOB = "a" * 32
SEAL = Seal(key=KEY, job=JOB, attempt=1)
OWNER = SigningKey(b"o" * 32)
READER = SigningKey(b"r" * 32)
ROOT = Cid.of_dag_cbor(b"root")
P256 = Did("did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv")


def sealed(*parts, seal=SEAL):
    pieces = []

    def put(data):
        pieces.append(bytes(data))
        return Cid.of_raw(data)

    sealer = StreamSealer(seal, put)
    for part in parts:
        sealer.write(part)
    sealer.finish()
    assert sealer.sealed_bytes == sum(map(len, pieces))
    assert sealer.pieces == [Cid.of_raw(piece) for piece in pieces]
    return pieces


def opened(pieces, seal=SEAL):
    opener = PieceOpener(seal)
    return b"".join(
        bytes(opener.open(n, piece, last=n == len(pieces) - 1))
        for n, piece in enumerate(pieces)
    )


@pytest.mark.parametrize(
    ("length", "count"),
    [(0, 1), (1, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2), (2 * PIECE_BYTES, 2)],
)
def test_a_stream_is_cut_into_whole_pieces(length, count):
    stream = bytes(i % 251 for i in range(1000)) * (length // 1000 + 1)
    stream = stream[:length]
    pieces = sealed(stream)
    assert len(pieces) == count
    assert all(len(piece) == PIECE_BYTES + TAG_BYTES for piece in pieces[:-1])
    assert opened(pieces) == stream


def test_how_it_was_written_does_not_show():
    assert sealed(b"one", b"", b"two") == sealed(b"onetwo")
    whole = bytes(i % 251 for i in range(PIECE_BYTES + 40_000))
    parts = [whole[at : at + 13_001] for at in range(0, len(whole), 13_001)]
    assert sealed(*parts) == sealed(whole)
    assert opened(sealed(*parts)) == whole


def test_pieces_open_in_any_order():
    stream = bytes(i % 251 for i in range(PIECE_BYTES + 5))
    long, short = sealed(stream)
    opener = PieceOpener(SEAL)
    assert opener.open(1, short, last=True) == stream[PIECE_BYTES:]
    assert opener.open(0, long, last=False) == stream[:PIECE_BYTES]
    assert opener.open(1, short, last=True) == stream[PIECE_BYTES:]


def test_nothing_of_the_stream_shows_in_the_pieces():
    assert b"secret" not in b"".join(sealed(b"secret" * 1000))


@pytest.mark.parametrize(
    "change",
    [
        lambda pieces: pieces[::-1],
        lambda pieces: pieces[:1],
        lambda pieces: [*pieces, pieces[1]],
        lambda pieces: [pieces[0], pieces[0]],
        lambda pieces: [pieces[0], pieces[1][:-1]],
        lambda pieces: [pieces[0], b""],
        lambda pieces: [pieces[0], pieces[1] + b"x"],
    ],
)
def test_pieces_cannot_be_moved_dropped_repeated_or_cut(change):
    with pytest.raises(SealError):
        opened(change(sealed(bytes(PIECE_BYTES + 5))))


@pytest.mark.parametrize(
    "other",
    [
        Seal(key=bytes(32), job=JOB, attempt=1),
        Seal(key=KEY, job="b" * 32, attempt=1),
        Seal(key=KEY, job=JOB, attempt=2),
    ],
)
def test_a_piece_opens_only_for_its_own_job_and_attempt(other):
    with pytest.raises(SealError):
        opened(sealed(b"data"), other)


def test_a_seal_does_not_print_its_key():
    assert str(KEY) not in repr(SEAL)
    assert "key" not in repr(SEAL)


def wrapped(reader=OWNER.did):
    return wrap_key(KEY, reader=reader, job=JOB, root=ROOT, ephemeral_secret=b"e" * 32)


def unwrapped(data, *, who=OWNER, reader=None, job=JOB, root=ROOT):
    return unwrap_key(
        data,
        reader=reader or who.did,
        reader_secret=who.key_agreement_secret(),
        job=job,
        root=root,
    )


def test_a_key_reaches_its_owner():
    assert len(wrapped()) == WRAPPED_KEY_BYTES
    assert unwrapped(wrapped()) == KEY


def test_an_owner_seals_the_key_again_for_a_reader():
    key = unwrapped(wrapped())
    again = wrap_key(
        key, reader=READER.did, job=JOB, root=ROOT, ephemeral_secret=b"f" * 32
    )
    assert unwrapped(again, who=READER) == KEY
    with pytest.raises(UnsealError):
        unwrapped(again)


@pytest.mark.parametrize(
    "wrong",
    [
        {"who": READER},
        {"reader": READER.did},
        {"job": "b" * 32},
        {"root": Cid.of_dag_cbor(b"another")},
    ],
)
def test_a_key_opens_for_its_reader_job_and_tree_only(wrong):
    with pytest.raises(UnsealError):
        unwrapped(wrapped(), **wrong)


def test_a_did_without_an_agreement_key_cannot_be_sealed_to():
    assert can_read(OWNER.did)
    assert not can_read(P256)
    with pytest.raises(NoAgreementKeyError, match="nothing can be sealed"):
        wrapped(P256)


def test_a_key_of_another_length_is_a_bug():
    with pytest.raises(MisuseError):
        wrap_key(
            b"short", reader=OWNER.did, job=JOB, root=ROOT, ephemeral_secret=b"e" * 32
        )
    with pytest.raises(MisuseError):
        PieceOpener(Seal(key=b"short", job=JOB, attempt=1))
