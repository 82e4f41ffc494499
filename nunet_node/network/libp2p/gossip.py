"""Gossip: py-libp2p's gossipsub v1.1 with its faults covered and its costs bounded.

Rule: what a peer forwards is paid for by that peer's own bucket before it is looked
at; a message is known by its content, so that copying one is not a way to make more
of them; a verdict is a pure function of the message's bytes. Validators answer yes or
no only (there is no "ignore"), so ours should say yes to what is well-formed but
stale. Source: libp2p's gossipsub v1.0 and v1.1 specifications.
"""

import hashlib
import logging
import time
from collections import defaultdict, deque
from typing import Any, Final

import trio
from google.protobuf.message import DecodeError
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from nunet_node.errors import MisuseError, PeerError
from nunet_node.network.liveness import offer
from nunet_node.network.port import GossipMessage, Validator
from nunet_node.wire.limits import GOSSIP_BYTES_MAX

RPC_RECEIVED_BYTES_MAX: Final = 262_144
"""Largest gossip frame taken in: twice what we send, for peers that batch more."""

SUBSCRIPTION_MAX: Final = 1_024
"""Messages of a topic waiting for our own reader; the oldest makes room."""

TOPICS_PER_PEER_MAX: Final = 32
"""Topics that one peer may be subscribed to: we speak of a handful."""

BUCKET_BURST: Final = 400
"""Messages that one peer may forward at once: a reconnecting peer sends what its
cache holds."""

BUCKET_PER_S: Final = 100
"""Messages a second that one peer may forward for ever: twice what a node of this
kind can take in on one processor from all peers together."""

BUCKETS_MAX: Final = 2_048
"""Forwarders remembered: several times as many as can be connected at once."""

DEGREE: Final = 6
"""Peers in the mesh of a topic; four lost a tenth of all messages when measured."""

_log = logging.getLogger("nunet_node.network")


def message_id(message: Any) -> bytes:
    """Return the id of a gossiped message: a digest of its topics and its data."""
    digest = hashlib.sha256()
    for topic in message.topicIDs:
        digest.update(topic.encode() + b"\0")
    digest.update(message.data)
    return digest.digest()


class Bucket:
    """What one forwarder may still send; refills with time."""

    def __init__(self, now_s: float) -> None:
        self._tokens = float(BUCKET_BURST)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; tell False if there is none."""
        gained = (now_s - self._at_s) * BUCKET_PER_S
        self._tokens = min(float(BUCKET_BURST), self._tokens + gained)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _ContentCache(MessageCache):  # type: ignore[misc] # the library is untyped
    """Recent messages by `message_id`; the library's own goes by sequence number."""

    def put(self, msg: Any) -> None:
        mid = message_id(msg)
        if mid not in self.msgs:
            self.msgs[mid] = msg
            self.history[0].append(CacheEntry(mid, msg.topicIDs))


class SafeGossipSub(GossipSub):  # type: ignore[misc] # the library is untyped
    """P9, P10: the router; nobody else can make it dial or grow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mcache = _ContentCache(kwargs["gossip_window"], kwargs["gossip_history"])
        self.recent_message_deliveries: Any = defaultdict(lambda: deque(maxlen=1))

    async def _do_px(self, px_peers: Any) -> None:
        """P9: connect to nobody: these addresses are a stranger's word."""


class SafePubsub(Pubsub):  # type: ignore[misc] # the library is untyped
    """P8 and more: the messages, bounded, judged once, delivered to `Outlet`s."""

    def __init__(self, host: Any, router: SafeGossipSub) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=RPC_RECEIVED_BYTES_MAX,
            max_subscriptions_per_rpc=TOPICS_PER_PEER_MAX,
            max_subscriptions_per_peer=TOPICS_PER_PEER_MAX,
        )
        self.counter = time.time_ns()
        self._buckets: dict[Any, Bucket] = {}
        self._outlets: dict[str, Outlet] = {}

    async def continuously_read_stream(self, stream: Any) -> None:
        """P1: take in one peer's frames, one by one, until it stops or errs."""
        peer_id = stream.muxed_conn.peer_id
        frames = _FrameSource(stream)
        try:
            while self.manager.is_running:
                data = await frames.next()
                if data is None:
                    return
                await self._take_in(peer_id, rpc_pb2.RPC.FromString(data))
        except DecodeError:
            _log.info("%s sends gossip that is none", peer_id)
            await stream.reset()

    async def _take_in(self, peer_id: Any, rpc: Any) -> None:
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message):
                await self.push_msg(peer_id, message)
        if len(rpc.subscriptions) <= self.max_subscriptions_per_rpc:
            for change in rpc.subscriptions:
                self.handle_subscription(peer_id, change)
        if rpc.HasField("control"):
            # What a peer says of its own addresses is not wanted here.
            rpc.ClearField("senderRecord")
            await self.router.handle_rpc(rpc, peer_id)

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """P3: judge a message, deliver and forward it; nothing it says can raise."""
        if msg_forwarder != self.my_id and not self._may_forward(msg_forwarder, msg):
            return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:  # noqa: BLE001 - it would end the service
            _log.debug("a message from %s failed: %r", msg_forwarder, error)

    def _may_forward(self, peer_id: Any, message: Any) -> bool:
        if len(message.topicIDs) != 1 or len(message.data) > GOSSIP_BYTES_MAX:
            return False
        now_s = trio.current_time()
        bucket = self._buckets.get(peer_id)
        if bucket is None:
            # Kept when the peer leaves, lest reconnecting be a way to a full bucket.
            while len(self._buckets) >= BUCKETS_MAX:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[peer_id] = Bucket(now_s)
        return bucket.take(now_s)

    def notify_subscriptions(self, publish_message: Any) -> None:
        """Deliver a message that has been judged."""
        for topic in publish_message.topicIDs:
            outlet = self._outlets.get(topic)
            if outlet is not None:
                outlet.put(publish_message)

    def attach_outlet(self, topic: str, outlet: "Outlet") -> None:
        """Deliver this topic's messages there, as far as the outlet accepts them."""
        if topic in self._outlets:
            raise MisuseError(f"there is a subscription to {topic} already")
        self._outlets[topic] = outlet
        self.set_topic_validator(topic, outlet.accepts, is_async_validator=False)

    def detach_outlet(self, topic: str) -> None:
        """Deliver this topic no longer."""
        outlet = self._outlets.pop(topic, None)
        self.remove_topic_validator(topic)
        if outlet is not None:
            outlet.end()


class Outlet:
    """Where a topic's messages go: one bounded channel, oldest first out."""

    def __init__(self, validate: Validator) -> None:
        self._validate = validate
        self._sender, self.receiver = trio.open_memory_channel[GossipMessage](
            SUBSCRIPTION_MAX
        )

    def accepts(self, _forwarder: Any, message: Any) -> bool:
        """P2: judge a message; a validator that raises has said no."""
        try:
            return bool(self._validate(message.data))
        except PeerError:
            return False
        except Exception:  # noqa: BLE001 - it would end the service
            _log.warning("a gossip validator failed", exc_info=True)
            return False

    def put(self, message: Any) -> None:
        """Deliver a message."""
        author = ID(message.from_id).to_base58()
        offer(self._sender, self.receiver, GossipMessage(author, message.data))

    def end(self) -> None:
        """End the channel."""
        self._sender.close()


class _FrameSource:
    """Reads length-prefixed frames with few reads; the library takes one a byte."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """Return the next frame; None at the end, or where a limit is broken."""
        length = shift = position = 0
        while True:
            if position == len(self._buffer) and not await self._more():
                return None
            byte = self._buffer[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if length > RPC_RECEIVED_BYTES_MAX or shift > 28:  # noqa: PLR2004
                await self._stream.reset()
                return None
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                break
        while len(self._buffer) < position + length:
            if not await self._more():
                return None
        data = bytes(self._buffer[position : position + length])
        del self._buffer[: position + length]
        return data

    async def _more(self) -> bool:
        try:
            self._buffer += await self._stream.read(65_536)
        except StreamEOF:
            return False
        return True


def make_router() -> SafeGossipSub:
    """Make the router with a mesh that mends itself every second (P6, P7)."""
    return SafeGossipSub(
        protocols=[PROTOCOL_ID_V11],
        degree=DEGREE,
        degree_low=4,
        degree_high=12,
        gossip_window=3,
        gossip_history=5,
        heartbeat_interval=1,
        spam_protection_enabled=False,
        eclipse_protection_enabled=False,
        adaptive_gossip_enabled=False,
    )
