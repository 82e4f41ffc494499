"""The one form of COSE_Sign1, byte for byte."""

import hashlib

import cbor2
import pytest
from msgspec.structs import replace

from nunet_node.wire.cose import (
    ALG_ED25519,
    Header,
    encode_header,
    message_id,
    read_sign1,
    seal_sign1,
    to_be_signed,
)
from nunet_node.wire.errors import (
    EnvelopeError,
    NonCanonicalError,
    TooLargeError,
    TruncatedError,
    WireError,
)

HEADER = Header(
    algorithm=ALG_ED25519,
    key_id="did:key:z6Mk#z6Mk",
    issuer="did:key:z6Mk",
    audience="topic:adverts",
    expires_at_s=1_700_000_060,
    issued_at_s=1_700_000_000,
    cti=bytes(range(16)),
    kind="nunet/advert@1",
)
PROTECTED = bytes.fromhex(
    "a4"
    "0132"
    "0451" + b"did:key:z6Mk#z6Mk".hex() + "0fa5"
    "016c" + b"did:key:z6Mk".hex() + "036d" + b"topic:adverts".hex() + "041a6553f13c"
    "061a6553f100"
    "0750000102030405060708090a0b0c0d0e0f"
    "106e" + b"nunet/advert@1".hex()
)
SIGNATURE = bytes(64)
SEALED = seal_sign1(PROTECTED, b"\xa0", SIGNATURE)


def read(data):
    return read_sign1(data, bytes_max=1000)


def test_a_header_has_the_known_encoding():
    assert encode_header(HEADER) == PROTECTED


def test_a_statement_is_read_as_it_was_sealed():
    sign1 = read(SEALED)
    assert sign1.header == HEADER
    assert (sign1.protected, sign1.payload) == (PROTECTED, b"\xa0")
    assert sign1.signature == SIGNATURE


def test_a_general_reader_sees_a_cose_sign1():
    tagged = cbor2.loads(SEALED)
    assert tagged.tag == 18
    assert list(tagged.value) == [PROTECTED, {}, b"\xa0", SIGNATURE]


def test_what_is_signed_is_the_standards_structure():
    signed = to_be_signed(b"\1", b"\2", b"\3")
    assert signed == b"\x84\x6aSignature1\x41\1\x41\2\x41\3"
    assert message_id(signed) == hashlib.sha256(signed).digest()


def sealed(protected=PROTECTED, payload=b"\xa0", signature=SIGNATURE, **parts):
    return b"".join(
        (
            parts.get("opening", b"\xd2\x84"),
            cbor2.dumps(protected),
            parts.get("unprotected", b"\xa0"),
            cbor2.dumps(payload),
            cbor2.dumps(signature),
            parts.get("rest", b""),
        )
    )


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (sealed(opening=b"\x84"), EnvelopeError),
        (sealed(opening=b"\xd8\x62\x84"), EnvelopeError),
        (sealed(opening=b"\xd1\x84"), EnvelopeError),
        (sealed(opening=b"\xd8\x12\x84"), EnvelopeError),
        (sealed(opening=b"\xd2\x85"), EnvelopeError),
        (sealed(opening=b"\xd2\x9f"), EnvelopeError),
        (sealed(unprotected=b"\xa1\x04\x41\x31"), EnvelopeError),
        (sealed(unprotected=b"\xa1\x01\x32"), EnvelopeError),
        (sealed(unprotected=b"\xb8\x00"), EnvelopeError),
        (sealed(payload=None), EnvelopeError),
        (sealed(payload="\0"), EnvelopeError),
        (sealed(signature=bytes(63)), EnvelopeError),
        (sealed(signature=bytes(65)), EnvelopeError),
        (sealed(signature=b""), EnvelopeError),
        (sealed(rest=b"\0"), NonCanonicalError),
        (sealed(protected=b""), EnvelopeError),
        (sealed(protected=b"\xa0"), EnvelopeError),
        (sealed()[:-1], TruncatedError),
        (b"", EnvelopeError),
        (sealed(payload=bytes(1000)), TooLargeError),
        (sealed(protected=PROTECTED + bytes(770)), TooLargeError),
    ],
)
def test_another_structure_is_refused(data, error):
    with pytest.raises(error):
        read(data)


@pytest.mark.parametrize(
    "change",
    [
        (b"\xa4\x01\x32", b"\xa5\x01\x32\x02\x81\x04"),
        (b"\xa4\x01\x32", b"\xa5\x01\x32\x01\x32"),
        (b"\xa4\x01\x32", b"\xa4\x01\x38\x12"),
        (b"\xa4\x01\x32", b"\xa4\x01\x05"),
        (b"\xa4\x01\x32", b"\xa4\x01\x63abc"),
        (b"\xa4\x01\x32", b"\xb8\x04\x01\x32"),
        (b"\xa4\x01\x32", b"\xa4\x18\x01\x32"),
        (b"\x0f\xa5", b"\x0d\xa5"),
        (b"\x0f\xa5", b"\x0f\xa6"),
        (b"\x06\x1a", b"\x05\x1a"),
        (b"\x06\x1a", b"\x06\x3a"),
        (b"\x06\x1a\x65\x53\xf1\x00", b"\x06\xf5"),
        (b"\x06\x1a\x65\x53\xf1\x00", b"\x06\xfb\x41\xd9\x54\xfc\x40\x00\x00\x00"),
        (b"\x06\x1a\x65\x53\xf1\x00", b"\x06\x1b\x00\x00\x00\x00\x65\x53\xf1\x00"),
        (b"\x07\x50", b"\x07\x4f"),
        (b"\x04\x51", b"\x04\x71"),
        (b"\x04\x51did", b"\x04\x51di\xff"),
        (b"\x01\x6cdid", b"\x01\x6cdi\xff"),
    ],
)
def test_another_header_is_refused(change):
    old, new = change
    assert old in PROTECTED
    with pytest.raises(WireError):
        read(sealed(protected=PROTECTED.replace(old, new, 1)))


def test_labels_out_of_order_are_refused():
    kind = PROTECTED.index(b"\x10\x6e")
    moved = b"\xa4" + PROTECTED[kind:] + PROTECTED[1:kind]
    with pytest.raises(EnvelopeError):
        read(sealed(protected=moved))


@pytest.mark.parametrize("expires_at_s", [0, 23, 24, 2**32, 2**64 - 1])
def test_times_of_every_length_pass(expires_at_s):
    header = replace(HEADER, expires_at_s=expires_at_s)
    assert read(sealed(protected=encode_header(header))).header == header
