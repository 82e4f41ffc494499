"""What strangers send on the wire harms at most their own connection."""

import logging
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.stream_muxer.exceptions import MuxedStreamReset
from libp2p.transport.upgrader import TransportUpgrader

from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import seal, topic_audience
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, Advert
from nunet_node.network.discovery import parse_multiaddr
from nunet_node.network.host import open_host
from nunet_node.network.libp2p import swarm
from nunet_node.network.libp2p.connection import BUFFERED_BYTES_MAX, STREAMS_MAX
from nunet_node.network.libp2p.gossip import (
    BUCKET_BURST,
    TOPICS_PER_PEER_MAX,
    SafePubsub,
    message_id,
)
from nunet_node.network.libp2p.substream import (
    DATA,
    FIN,
    HEADER,
    PING,
    RST,
    SYN,
    WINDOW_BYTES,
    WINDOW_BYTES_MAX,
    WINDOW_UPDATE,
)
from nunet_node.network.port import (
    ConnectFailed,
    HostSettings,
    NotConnected,
    PeerGone,
    ProtocolRefused,
)
from nunet_node.protocol.opening import advert_is_authentic
from tests.network_peers import (
    ECHO,
    HOLD,
    answers,
    echo,
    hold,
    hosts,
    muxed,
    pair,
    raw_stream,
    swarm_of,
    until,
)

MESHSUB = "/meshsub/1.1.0"
TOPIC = "nunet-test"
AUTHOR = SigningKey(b"w" * 32)


def prefixed(data):
    out, length = bytearray(), len(data)
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + data


def rpc_of(*messages):
    return prefixed(rpc_pb2.RPC(publish=list(messages)).SerializeToString())


def message(data, *, author=b"\x12\x20" + b"a" * 32, key=b"", topic=TOPIC):
    return rpc_pb2.Message(
        from_id=author,
        data=data,
        seqno=bytes(8),
        topicIDs=[topic],
        signature=b"s" * 64,
        key=key,
    )


HOSTILE_GOSSIP = {
    "no protobuf": prefixed(b"\xff" * 40),
    "a message signed with a junk key": rpc_of(message(b"x", key=b"junk")),
    "a message of nobody": rpc_of(message(b"x", author=b"")),
    "an author that is no peer id": rpc_of(message(b"x", author=b"\xff\xfe")),
    "a length that never ends": b"\xff" * 30,
    "a frame over the limit": prefixed(b"x" * 300_000),
    "a message over the limit": rpc_of(message(b"x" * 20_000)),
    "ten thousand empty messages": prefixed(b"\x12\x00" * 10_000),
    "ten megabytes that never come": b"\x80\xad\xe2\x04" + b"x" * 1000,
    "five thousand subscriptions": prefixed(
        rpc_pb2.RPC(
            subscriptions=[
                rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{number}")
                for number in range(5_001)
            ]
        ).SerializeToString()
    ),
}


@pytest.mark.parametrize("name", HOSTILE_GOSSIP)
async def test_hostile_gossip_is_dropped_and_the_host_goes_on(name, caplog):
    caplog.set_level(logging.DEBUG, "nunet_node.network")
    async with pair() as (a, b):
        channel = await a.subscribe(TOPIC, lambda _: True)
        stream = await raw_stream(b, a.peer_id, MESHSUB)
        with suppress(MuxedStreamReset):
            await stream.write(HOSTILE_GOSSIP[name])
        assert await answers(b, a.peer_id)
        await a.publish(TOPIC, b"still here")
        assert (await channel.receive()).data == b"still here"
        assert len(a._pubsub.peer_topics) <= TOPICS_PER_PEER_MAX
        # Gossip itself has dropped it, not the guard that every stream has, and a
        # stream is only given up where nobody can tell what comes next.
        assert "a stream failed" not in caplog.text
        is_given_up = "sends gossip that is none" in caplog.text
        assert is_given_up == (name == "no protobuf")


def leave_the_library_as_it_is(monkeypatch):
    """Take out every remedy between a gossiped message and the end of the host."""
    for method in ("push_msg", "continuously_read_stream"):
        monkeypatch.setattr(SafePubsub, method, getattr(Pubsub, method))
    monkeypatch.setattr(
        swarm.SafeSwarm, "set_stream_handler", swarm.Swarm.set_stream_handler
    )
    monkeypatch.setattr(
        "nunet_node.network.libp2p.remedies._survivor", lambda f, **_: f
    )


async def ends_the_host(provoke):
    """Tell whether this ends a host, which may take the block down with it."""
    try:
        async with pair() as (a, b):
            await provoke(a, b)
            await until(lambda: not swarm_of(a).manager.is_running)
    except BaseException as error:  # noqa: BLE001 - what it takes the host down with
        return "TooSlowError" not in repr(error)
    return True


@pytest.mark.parametrize("name", ["no protobuf", "a message signed with a junk key"])
async def test_without_the_remedy_hostile_gossip_ends_the_host(name, monkeypatch):
    leave_the_library_as_it_is(monkeypatch)

    async def attack(a, b):
        await a.subscribe(TOPIC, lambda _: True)
        stream = await raw_stream(b, a.peer_id, MESHSUB)
        await stream.write(HOSTILE_GOSSIP[name])

    assert await ends_the_host(attack)


async def test_without_the_remedy_a_validator_that_raises_ends_the_host(monkeypatch):
    leave_the_library_as_it_is(monkeypatch)

    def fail(_forwarder, _message):
        raise ZeroDivisionError

    async def provoke(a, b):
        await a.subscribe(TOPIC, lambda _: True)
        a._pubsub.set_topic_validator(TOPIC, fail, is_async_validator=False)
        await until(lambda: TOPIC in b._pubsub.peer_topics)
        await b.publish(TOPIC, b"trap")

    assert await ends_the_host(provoke)


async def test_a_message_in_anothers_name_is_dropped():
    async with pair() as (a, b):
        channel = await a.subscribe(TOPIC, lambda _: True)
        author = swarm_of(a).get_peer_id().to_bytes()
        stream = await raw_stream(b, a.peer_id, MESHSUB)
        await stream.write(rpc_of(message(b"forged", author=author)))
        assert await answers(b, a.peer_id)
        await a.publish(TOPIC, b"mine")
        assert (await channel.receive()).data == b"mine"


async def test_a_validator_that_raises_has_said_no():
    judged = []

    def fail(data):
        judged.append(data)
        if data == b"trap":
            raise ZeroDivisionError
        return True

    async with pair() as (a, b):
        channel = await a.subscribe(TOPIC, fail)
        await until(lambda: TOPIC in b._pubsub.peer_topics)
        for host in (a, a, b):
            await host.publish(TOPIC, b"trap")
        await b.publish(TOPIC, b"good")
        with trio.fail_after(20):
            assert (await channel.receive()).data == b"good"
    # A verdict, not a failure: what has been judged is not judged again.
    assert judged == [b"trap", b"good"]


async def test_one_peers_flood_does_not_use_up_anothers_share():
    judged = []
    async with hosts(3) as (a, flooder, honest):
        channel = await a.subscribe(TOPIC, lambda data: judged.append(data) or True)
        for peer in (flooder, honest):
            await peer.connect(a.addresses())
            await peer.subscribe(TOPIC, lambda _: True)
            await until(lambda peer=peer: TOPIC in peer._pubsub.peer_topics)
        stream = await raw_stream(flooder, a.peer_id, MESHSUB)
        for start in range(0, 4 * BUCKET_BURST, 100):
            junk = [message(b"%d" % (start + n)) for n in range(100)]
            await stream.write(rpc_of(*junk))
        await honest.publish(TOPIC, b"honest")
        with trio.fail_after(20):
            assert (await channel.receive()).data == b"honest"
        flooding = next(iter(a._pubsub._buckets.values()))
        assert flooding._tokens < BUCKET_BURST / 2
    assert judged == [b"honest"]


def signed(host, data, *, seqno=bytes(8)):
    """Return a message as its author's host would sign it."""
    mine = rpc_pb2.Message(
        from_id=swarm_of(host).get_peer_id().to_bytes(),
        data=data,
        seqno=seqno,
        topicIDs=[TOPIC],
    )
    keys = host._inner.peerstore
    key = keys.privkey(swarm_of(host).get_peer_id())
    prefix = PUBSUB_SIGNING_PREFIX.encode()
    mine.signature = key.sign(prefix + mine.SerializeToString())
    mine.key = key.get_public_key().serialize()
    return mine


async def test_what_was_refused_of_one_forwarder_is_taken_from_another():
    """The library keeps verdicts by message; ours on a forwarder must not be one."""
    async with hosts(3) as (a, flooder, honest):
        channel = await a.subscribe(TOPIC, lambda _: True)
        for peer in (flooder, honest):
            await peer.connect(a.addresses())
        wanted = signed(honest, b"wanted")
        spent = swarm_of(flooder).get_peer_id()
        for number in range(BUCKET_BURST + 1):
            await a._pubsub.push_msg(spent, message(b"%d" % number))
        a._pubsub._buckets[spent]._tokens = 0
        await a._pubsub.push_msg(spent, wanted)
        with pytest.raises(trio.WouldBlock):
            channel.receive_nowait()
        stream = await raw_stream(honest, a.peer_id, MESHSUB)
        await stream.write(rpc_of(wanted))
        with trio.fail_after(20):
            assert (await channel.receive()).data == b"wanted"


async def test_two_messages_under_one_number_are_two_messages():
    async with pair() as (a, b):
        channel = await a.subscribe(TOPIC, lambda _: True)
        stream = await raw_stream(b, a.peer_id, MESHSUB)
        await stream.write(rpc_of(signed(b, b"one"), signed(b, b"two")))
        with trio.fail_after(20):
            heard = {(await channel.receive()).data for _ in range(2)}
        assert heard == {b"one", b"two"}


async def test_what_comes_late_or_twice_is_no_offence():
    """Age is judged by who hears it, so an honest forwarder is not blamed for it."""
    late = seal(
        Advert(peer_id=peer_id_of(AUTHOR.did), addresses=(), sequence=1),
        kind=ADVERT,
        signer=AUTHOR,
        audience=topic_audience(ADVERT_TOPIC),
        now_s=1,
        ttl_s=1,
        nonce=bytes(16),
    )
    async with pair() as (a, b):
        channel = await a.subscribe(TOPIC, advert_is_authentic)
        stream = await raw_stream(b, a.peer_id, MESHSUB)
        numbers = [number.to_bytes(8, "big") for number in range(20)]
        await stream.write(rpc_of(*(signed(b, late, seqno=each) for each in numbers)))
        await a.publish(TOPIC, b"no advert")
        with trio.fail_after(20):
            assert (await channel.receive()).data == late
        assert await answers(b, a.peer_id)
        with pytest.raises(trio.WouldBlock):
            channel.receive_nowait()


async def test_a_copied_message_is_known_by_its_content():
    first, copy = message(b"same"), message(b"same", author=b"other")
    assert message_id(first) == message_id(copy)
    assert message_id(first) != message_id(message(b"same", topic="elsewhere"))


async def test_bytes_that_are_not_libp2p_are_harmless():
    async with pair() as (a, b):
        port = int(a.addresses()[0].split("/")[4])
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00" * 70_000,
            b"\x13/multistream/1.0.0\n" + b"\xff" * 1000,
            b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\x80" * 70_000,
        ):
            channel = await trio.open_tcp_stream("127.0.0.1", port)
            async with channel:
                try:
                    await channel.send_all(junk)
                except trio.BrokenResourceError:
                    continue
        assert await answers(b, a.peer_id)


async def test_a_peer_that_offers_only_plaintext_is_refused():
    async with hosts(2) as (a, b):
        keys = b._inner.peerstore
        me = swarm_of(b).get_peer_id()
        pair_of_keys = swarm.create_new_key_pair(keys.privkey(me).to_bytes())
        plain = TransportUpgrader(
            {PLAINTEXT_PROTOCOL_ID: InsecureTransport(pair_of_keys)}, {}
        )
        plain.muxer_multistream = swarm_of(b).upgrader.muxer_multistream
        swarm_of(b).upgrader = plain
        with pytest.raises(ConnectFailed):
            await b.connect(a.addresses())
        assert a.connected_peers() == frozenset()


async def test_another_peer_at_the_address_is_refused():
    async with hosts(3) as (a, b, c):
        place = b.addresses()[0].split("/p2p/")[0]
        with pytest.raises(ConnectFailed):
            await a.connect([f"{place}/p2p/{c.peer_id}"])
        assert a.connected_peers() == frozenset()


async def write_frames(connection, frames):
    for header, body in frames:
        data = HEADER.pack(*header) + body
        await connection.secured_conn.write(data)


RULES_BROKEN = {
    "another version": [((1, DATA, 0, 1, 0), b"")],
    "a kind that there is not": [((0, 9, 0, 0, 0), b"")],
    "a frame larger than any window": [
        ((0, DATA, SYN, 101, WINDOW_BYTES_MAX + 1), b"")
    ],
    "a stream of ours": [((0, DATA, SYN, 1000, 0), b"")],
    "a stream twice": [((0, DATA, SYN, 1001, 0), b"")] * 2,
    "stream nought": [((0, DATA, SYN, 0, 0), b"")],
}


@pytest.mark.parametrize("frames", RULES_BROKEN.values(), ids=RULES_BROKEN.keys())
async def test_a_peer_that_breaks_the_rules_of_yamux_is_cut_off(frames):
    async with pair() as (a, b):
        events = a.peer_events()
        with trio.fail_after(20):
            # The connection ends under it, as it should.
            with suppress(Exception):
                await write_frames(muxed(b, a.peer_id), frames)
            assert await events.receive() == PeerGone(peer_id=b.peer_id)


async def test_a_peer_that_asks_for_answers_and_reads_none_is_cut_off():
    async with pair(gossip=False) as (a, b):
        events = a.peer_events()
        theirs = muxed(a, b.peer_id)
        stuck = trio.CancelScope()

        async def hold_the_line():
            with stuck:
                async with theirs._writing:
                    await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold_the_line)
            pings = [((0, PING, SYN, 0, number), b"") for number in range(30_000)]
            with suppress(Exception):
                await write_frames(muxed(b, a.peer_id), pings)
            with trio.fail_after(20):
                await theirs.event_shutting_down.wait()
            stuck.cancel()
        with trio.fail_after(20):
            assert await events.receive() == PeerGone(peer_id=b.peer_id)


async def test_a_peer_that_sends_more_than_it_was_granted_is_cut_off():
    async with pair() as (a, b):
        events = a.peer_events()
        a.serve(HOLD, hold)
        stream = await raw_stream(b, a.peer_id, HOLD)
        stream.add_credit(1_000_000)
        with trio.fail_after(20):
            with suppress(MuxedStreamReset):
                await stream.write(bytes(WINDOW_BYTES + 1))
            assert await events.receive() == PeerGone(peer_id=b.peer_id)


async def test_a_peer_that_fills_many_windows_that_nobody_reads_is_cut_off():
    async with pair() as (a, b):
        events = a.peer_events()
        a.serve(HOLD, hold)
        with trio.fail_after(20):
            # A little of each window goes into agreeing on the protocol.
            for _ in range(BUFFERED_BYTES_MAX // WINDOW_BYTES + 1):
                with suppress(MuxedStreamReset, NotConnected):
                    stream = await raw_stream(b, a.peer_id, HOLD)
                    await stream.write(bytes(WINDOW_BYTES - 100))
            assert await events.receive() == PeerGone(peer_id=b.peer_id)


async def test_a_peer_that_opens_and_resets_streams_in_masses_is_cut_off():
    async with pair() as (a, b):
        events = a.peer_events()
        flood = b"".join(
            HEADER.pack(0, WINDOW_UPDATE, SYN | RST, 1001 + 2 * number, 0)
            for number in range(2 * STREAMS_MAX)
        )
        await muxed(b, a.peer_id).secured_conn.write(flood)
        with trio.fail_after(20):
            assert await events.receive() == PeerGone(peer_id=b.peer_id)


async def test_further_streams_than_a_connection_carries_are_reset(monkeypatch):
    async with pair(gossip=False) as (a, b):
        a.serve(HOLD, hold)
        monkeypatch.setattr(muxed(b, a.peer_id), "_count", lambda **_: 0)
        for _ in range(STREAMS_MAX):
            await b.open_stream(a.peer_id, HOLD)
        with pytest.raises(ProtocolRefused):
            await b.open_stream(a.peer_id, HOLD)
        assert b.connected_peers() == {a.peer_id}


async def test_data_for_a_stream_that_is_over_is_answered_by_a_reset():
    async with pair(gossip=False) as (a, b):
        frames = [((0, DATA, flags, 7001, 4), b"data") for flags in (0, FIN, RST)]
        await write_frames(muxed(b, a.peer_id), frames)
        assert await answers(b, a.peer_id)
        await until(lambda: not muxed(a, b.peer_id).streams)


async def test_connections_that_never_prove_themselves_do_not_lock_others_out(
    monkeypatch,
):
    monkeypatch.setattr(swarm, "HANDSHAKES_PER_ADDRESS_MAX", 8)
    monkeypatch.setattr(swarm, "source_of", lambda c: c.stream.socket.getpeername()[0])
    async with open_host(HostSettings(seed=bytes(32), connections_max=10)) as a:
        a.serve(ECHO, echo)
        port = int(a.addresses()[0].split("/")[4])
        async with AsyncExitStack() as idle, hosts(1) as (b,):
            for _ in range(40):
                channel = await trio.open_tcp_stream(
                    "127.0.0.1", port, local_address="127.0.0.2"
                )
                await idle.enter_async_context(channel)
            await b.connect(a.addresses())
            assert await answers(b, a.peer_id)
            assert swarm_of(a)._handshakes == {"127.0.0.2": 8}


async def test_a_connection_that_never_proves_itself_is_cut_off(monkeypatch):
    monkeypatch.setattr(swarm, "HANDSHAKE_S", 0.1)
    async with hosts(1) as (a,):
        port = int(a.addresses()[0].split("/")[4])
        async with await trio.open_tcp_stream("127.0.0.1", port) as idle:
            with trio.fail_after(8):
                while await idle.receive_some():
                    pass
        await until(lambda: not swarm_of(a)._handshakes.total())
        assert a.connected_peers() == frozenset()


async def test_a_peer_has_a_bounded_number_of_connections():
    async with hosts(2) as (a, b):
        for _ in range(swarm.CONNECTIONS_PER_PEER_MAX + 4):
            await b._dial(parse_multiaddr(a.addresses()[0]))
        held = len(swarm_of(a).get_connections())
        assert held <= swarm.CONNECTIONS_PER_PEER_MAX


async def test_a_full_host_refuses_and_serves_those_it_has():
    async with open_host(HostSettings(seed=bytes(32), connections_max=2)) as a:
        a.serve(ECHO, echo)
        async with hosts(3) as (b, c, d):
            await b.connect(a.addresses())
            await c.connect(a.addresses())
            await until(lambda: len(a.connected_peers()) == 2)
            with suppress(ConnectFailed):
                await d.connect(a.addresses())
            await until(lambda: d.connected_peers() == frozenset())
            assert await answers(b, a.peer_id)


async def test_without_the_remedy_a_handler_that_raises_ends_the_host(monkeypatch):
    monkeypatch.setattr(
        swarm.SafeSwarm, "set_stream_handler", swarm.Swarm.set_stream_handler
    )
    monkeypatch.setattr(
        "nunet_node.network.libp2p.remedies._survivor", lambda f, **_: f
    )

    async def fail(_stream):
        raise ValueError("a bug of ours")

    async def provoke():
        async with pair(gossip=False) as (a, b):
            a.serve("/nunet/test-fail/1", fail)
            await b.open_stream(a.peer_id, "/nunet/test-fail/1")
            await until(lambda: not swarm_of(a).manager.is_running)
            raise RuntimeError("ended")

    with pytest.raises(Exception) as caught:
        await provoke()
    assert "TooSlowError" not in repr(caught.value)
