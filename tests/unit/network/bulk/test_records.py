"""Records open in their order, in their direction, under their key, or not at all."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nunet_node.network.bulk import records
from nunet_node.network.bulk.records import (
    HEADER_BYTES,
    TAG_BYTES,
    RecordError,
    Sealing,
)

KEY = bytes(range(32))


def sealed(sealing, data):
    place = memoryview(bytearray(HEADER_BYTES + len(data) + TAG_BYTES))
    assert sealing.seal(data, place) == len(place)
    return bytes(place)


def opened(sealing, record):
    place = bytearray(len(record) - HEADER_BYTES - TAG_BYTES)
    body = memoryview(record)[HEADER_BYTES:]
    sealing.open(record[:HEADER_BYTES], body, memoryview(place))
    return bytes(place)


@pytest.mark.parametrize("data", [b"", b"x", bytes(100_000)])
def test_what_was_sealed_opens(data):
    record = sealed(Sealing(KEY, outward=True), data)
    assert opened(Sealing(KEY, outward=True), record) == data


def test_a_record_is_what_the_protocol_says():
    info = b"nunet/bulk/1 out"
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(KEY)
    sealing = Sealing(KEY, outward=True)
    sealed(sealing, b"first")
    header = (6 + TAG_BYTES).to_bytes(4, "big")
    body = AESGCM(key).encrypt((1).to_bytes(12, "big"), b"second", header)
    assert sealed(sealing, b"second") == header + body


def test_records_open_in_their_order_only():
    sends, takes = Sealing(KEY, outward=True), Sealing(KEY, outward=True)
    first, second = sealed(sends, b"first"), sealed(sends, b"second")
    with pytest.raises(RecordError):
        opened(takes, second)
    takes = Sealing(KEY, outward=True)
    assert opened(takes, first) == b"first"
    with pytest.raises(RecordError):
        opened(takes, first)


def test_a_record_that_is_sent_back_does_not_open():
    record = sealed(Sealing(KEY, outward=True), b"mine")
    with pytest.raises(RecordError):
        opened(Sealing(KEY, outward=False), record)


def test_a_record_of_another_ticket_does_not_open():
    record = sealed(Sealing(bytes(32), outward=True), b"theirs")
    with pytest.raises(RecordError):
        opened(Sealing(KEY, outward=True), record)


@pytest.mark.parametrize("at", range(HEADER_BYTES + 4 + TAG_BYTES))
def test_no_byte_of_a_record_can_be_changed(at):
    record = bytearray(sealed(Sealing(KEY, outward=True), b"data"))
    record[at] ^= 1
    takes = Sealing(KEY, outward=True)
    place = memoryview(bytearray(4))
    with pytest.raises(RecordError):
        takes.open(bytes(record[:4]), memoryview(bytes(record[4:])), place)


def test_a_key_is_used_up(monkeypatch):
    monkeypatch.setattr(records, "RECORDS_MAX", 2)
    sealing = Sealing(KEY, outward=True)
    sealed(sealing, b"1")
    sealed(sealing, b"2")
    with pytest.raises(RecordError):
        sealed(sealing, b"3")
