"""Frames have one encoding and bounded parts."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.protocol.messages import (
    PROOFS_MAX,
    Adverts,
    AdvertsWanted,
    ChallengeWanted,
    Frame,
    Invoke,
    Refused,
    Stated,
)
from nunet_node.wire.errors import WireError
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record

DID = SigningKey(b"d" * 32).did


def again(data):
    return decode_record(Frame, data, bytes_max=FRAME_BYTES_MAX)


@pytest.mark.parametrize(
    "body",
    [
        AdvertsWanted(),
        Adverts(items=(b"a", b"b")),
        ChallengeWanted(subject=DID, command="/x", request_digest=b"d" * 32),
        Invoke(invocation=b"i", proofs=(b"p",)),
        Stated(statement_kind="bid", data=b"d"),
        Refused(data=b"d"),
    ],
)
@pytest.mark.parametrize("re", [None, 1, 2**53 - 1])
def test_every_frame_comes_back_as_it_was(body, re):
    frame = Frame(id=7, body=body, re=re)
    assert again(encode_record(frame)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        Frame(id=0, body=AdvertsWanted()),
        Frame(id=2**53, body=AdvertsWanted()),
        Frame(id=1, body=AdvertsWanted(), re=0),
        Frame(id=1, body=Invoke(invocation=b"", proofs=(b"p",) * (PROOFS_MAX + 1))),
        Frame(id=1, body=Adverts(items=(b"",) * 1000)),
        Frame(
            id=1,
            body=ChallengeWanted(subject=DID, command="/x", request_digest=b"short"),
        ),
        Frame(
            id=1,
            body=ChallengeWanted(
                subject=DID, command="/" + "x" * 200, request_digest=b"d" * 32
            ),
        ),
        Frame(
            id=1,
            body=ChallengeWanted(
                subject="d" * 100_000, command="/x", request_digest=b"d" * 32
            ),
        ),
    ],
)
def test_a_frame_out_of_bounds_is_refused(frame):
    with pytest.raises(WireError):
        again(encode_record(frame))


@pytest.mark.parametrize(
    "data", [b"", b"\xa0", b"\x80", b"\xa1\x62id\x01", b"junk" * 99]
)
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(WireError):
        again(data)
