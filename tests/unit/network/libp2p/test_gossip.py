"""Gossip: bounded, paid for by the forwarder, known by its content."""

import pytest
import trio
from libp2p.peer.peerstore import env_to_send_in_RPC
from libp2p.pubsub.pb import rpc_pb2

from nunet_node.network.libp2p import gossip
from nunet_node.network.libp2p.gossip import (
    BUCKET_BURST,
    BUCKET_PER_S,
    Bucket,
    make_router,
    message_id,
)
from tests.network_peers import hosts, until


def test_a_bucket_holds_a_burst_and_refills():
    bucket = Bucket(0.0)
    assert all(bucket.take(0.0) for _ in range(BUCKET_BURST))
    assert not bucket.take(0.0)
    assert sum(bucket.take(1.0) for _ in range(BUCKET_BURST)) == BUCKET_PER_S
    assert sum(bucket.take(1000.0) for _ in range(2 * BUCKET_BURST)) == BUCKET_BURST


def test_the_message_cache_goes_by_content():
    cache = make_router().mcache
    first = rpc_pb2.Message(data=b"x", topicIDs=["t"], from_id=b"a", seqno=b"1")
    again = rpc_pb2.Message(data=b"x", topicIDs=["t"], from_id=b"b", seqno=b"2")
    cache.put(first)
    cache.put(again)
    assert cache.window("t") == [message_id(first)]
    assert cache.get(message_id(again)) == first


@pytest.fixture
async def meshed():
    """Two hosts in one mesh, with the second one's channel."""
    async with hosts(2) as (a, b):
        await b.connect(a.addresses())
        await a.subscribe("t", lambda _: True)
        channel = await b.subscribe("t", lambda _: True)
        await until(lambda: a._pubsub.router.mesh.get("t"))
        yield a, b, channel


async def test_a_burst_of_messages_arrives_whole(meshed):
    a, _, channel = meshed
    for number in range(200):
        await a.publish("t", b"%d" % number)
    with trio.fail_after(20):
        heard = {(await channel.receive()).data for _ in range(200)}
    assert heard == {b"%d" % number for number in range(200)}


async def test_the_same_bytes_again_go_nowhere(meshed):
    a, b, channel = meshed
    await a.publish("t", b"same")
    with trio.fail_after(20):
        assert (await channel.receive()).data == b"same"
    await b.publish("t", b"same")
    await a.publish("t", b"other")
    with trio.fail_after(20):
        assert (await channel.receive()).data == b"other"


async def test_a_restart_does_not_use_sequence_numbers_again(meshed):
    a, _, _ = meshed
    for number in range(100):
        await a.publish("t", b"%d" % number)
    before = a._pubsub.counter
    async with hosts(1) as (again,):
        assert again._pubsub.counter > before


async def test_a_pruning_peer_makes_us_dial_nobody(meshed):
    a, b, _ = meshed
    async with hosts(3) as (_, _, other):
        record, _ = env_to_send_in_RPC(other._inner)
        offered = rpc_pb2.PeerInfo(
            peerID=other._inner.get_id().to_bytes(), signedPeerRecord=record
        )
        await a._pubsub.router._do_px([offered])
        assert a.connected_peers() == {b.peer_id}


async def test_records_do_not_grow_with_messages(meshed):
    a, _, _ = meshed
    for number in range(100):
        await a.publish("t", b"%d" % number)
    assert len(a._pubsub.router.recent_message_deliveries["t"]) == 1


async def test_forwarders_remembered_are_bounded(meshed, monkeypatch):
    a, _, _ = meshed
    monkeypatch.setattr(gossip, "BUCKETS_MAX", 3)
    message = rpc_pb2.Message(data=b"x", topicIDs=["t"])
    for number in range(10):
        a._pubsub._may_forward(f"peer {number}", message)
    assert len(a._pubsub._buckets) == 3


def test_the_mesh_is_mended_every_second():
    assert make_router().heartbeat_interval == 1
