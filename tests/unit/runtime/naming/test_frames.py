"""A frame waits for documents only if somebody signed it whose document is needed."""

import pytest

from nunet_node.identity.did import NO_DOCUMENTS, Did
from nunet_node.identity.keys import SigningKey
from nunet_node.protocol.inputs import FrameReceived, FrameRejected
from nunet_node.protocol.messages import AdvertsWanted, ChallengeWanted, Frame
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.naming.documents import WebDocuments
from nunet_node.runtime.naming.frames import Frames
from nunet_node.wire.schema import encode_record

NODE = SigningKey(b"n" * 32)
ALICE = Did("did:web:alice.example.com")
WANTED = ChallengeWanted(
    subject=ALICE, command="/nunet/job/cancel", request_digest=bytes(32)
)


async def never(_did):
    raise AssertionError("asked a server")


@pytest.fixture
def frames(nursery):
    return Frames(NODE.did, lambda: (NODE.did,), Clock(), WebDocuments(never, nursery))


def data_of(body):
    return encode_record(Frame(id=1, body=body))


async def test_most_frames_wait_for_nothing(frames):
    assert frames.find("peer", data_of(AdvertsWanted())) is None


async def test_who_asks_for_a_challenge_has_signed_nothing_yet(frames):
    data = data_of(WANTED)
    documents = await frames.find("peer", data)
    assert isinstance(frames.open(1, data, documents), FrameReceived)


async def test_a_node_that_asks_no_servers_refuses_a_challenge_already():
    frames = Frames(NODE.did, lambda: (NODE.did,), Clock(), None)
    data = data_of(WANTED)
    assert frames.find("peer", data) is None
    refused = frames.open(1, data, NO_DOCUMENTS)
    assert isinstance(refused, FrameRejected)
    assert refused.code == "identity.did-method"
