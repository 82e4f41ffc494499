"""Streams, frames and challenges, from docs/protocol/network.md and sessions.md alone.

Rule: py-libp2p is used as it is shipped, on the side that dials; a stream has one
reader and one writer, and no write is cancelled.
"""

import contextlib
import hashlib
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from tests.interop.stranger import schema, wire
from tests.interop.stranger.wire import Identity, Statement

CONTROL: Final = "/nunet/control/1"
FRAME_BYTES_MAX: Final = 262_144
DEADLINE_S: Final = 60
"""Only keeps a broken node from hanging the tests."""


class RefusedError(Exception):
    """The node said no, in a signed refusal."""

    def __init__(self, refusal: dict[str, Any]) -> None:
        super().__init__(f"{refusal['code']}: {refusal['reason']}")
        self.refusal = refusal


class ClosedError(Exception):
    """The node ended the stream, or its connection."""


class Stream:
    """Frames and raw bytes over one stream of the library."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._unread = bytearray()

    async def send_raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        try:
            with trio.fail_after(DEADLINE_S):
                await self._stream.write(data)
        except Exception as error:
            raise ClosedError(repr(error)) from error

    async def send(self, value: Any) -> None:
        """Write a frame with one value."""
        data = wire.encode(value)
        await self.send_raw(struct.pack(">I", len(data)) + data)

    async def exactly(self, size: int) -> bytes:
        """Read as many bytes."""
        while len(self._unread) < size:
            try:
                with trio.fail_after(DEADLINE_S):
                    data = await self._stream.read(65_536)
            except trio.TooSlowError:
                raise
            except (StreamError, Exception) as error:
                raise ClosedError(repr(error)) from error
            if not data:
                raise ClosedError("end")
            self._unread += data
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    async def receive(self) -> Any:
        """Read a frame and the value in it."""
        (size,) = struct.unpack(">I", await self.exactly(4))
        assert size <= FRAME_BYTES_MAX
        return wire.decode(await self.exactly(size))

    async def finish(self) -> None:
        """End this direction."""
        await self._stream.close()

    async def reset(self) -> None:
        """End both directions at once."""
        with contextlib.suppress(Exception):
            await self._stream.reset()

    async def ended(self) -> None:
        """Read until the node ends the stream, whatever else comes."""
        with contextlib.suppress(ClosedError):
            while True:
                await self.exactly(1)


@dataclass
class Session:
    """One control stream: questions, answers and what is told unasked."""

    stream: Stream
    peer: Identity
    node_did: str
    told: deque[dict[str, Any]] = field(default_factory=deque)
    _number: int = 0

    async def send(self, body: dict[str, Any], re: int | None = None) -> int:
        """Send a frame; return its number."""
        self._number += 1
        answers = {} if re is None else {"re": re}
        frame = {"id": self._number, "body": body, **answers}
        schema.check("frame", frame)
        await self.stream.send(frame)
        return self._number

    async def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a frame and return the body that answers it."""
        return await self.answer(await self.send(body))

    async def answer(self, number: int) -> dict[str, Any]:
        """Read frames up to the one that answers; notices on the way are kept."""
        while True:
            frame = await self._receive()
            if frame.get("re") == number:
                return self._not_refused(frame["body"])
            assert "re" not in frame, frame
            self.told.append(frame["body"])

    async def _receive(self) -> Any:
        frame = await self.stream.receive()
        schema.check("frame", frame)
        return frame

    async def next_notice(self, owner: str) -> Statement:
        """Return what the node tells unasked, in order."""
        if not self.told:
            frame = await self._receive()
            assert "re" not in frame, frame
            self.told.append(frame["body"])
        return self.opened(self.told.popleft(), "notice", owner)

    async def command(
        self,
        signer: Identity,
        owner: str,
        command: str,
        args: dict[str, Any],
        proofs: tuple[bytes, ...] = (),
    ) -> dict[str, Any]:
        """Ask for a challenge, answer it, and return what is answered to that."""
        request = self.request(signer.did, owner, command, args)
        challenge = await self.challenge(signer.did, request)
        token = wire.invoke(signer, request, challenge, proofs)
        return await self.ask(self.invocation(token, proofs))

    def request(
        self, issuer: str, owner: str, command: str, args: dict[str, Any]
    ) -> dict[str, Any]:
        """What a challenge is made for."""
        return {
            "iss": issuer,
            "sub": owner,
            "aud": self.node_did,
            "cmd": command,
            "args": args,
        }

    async def challenge(self, subject: str, request: dict[str, Any]) -> bytes:
        """Return the digest of a fresh challenge that is what was asked for."""
        digest = wire.request_digest(request)
        body = await self.ask(
            {
                "kind": "challenge-wanted",
                "subject": subject,
                "command": request["cmd"],
                "request_digest": digest,
            }
        )
        made = self.opened(body, "challenge", subject)
        said = {k: v for k, v in made.value.items() if k not in ("nonce", "boot")}
        assert said == {
            "verifier": self.node_did,
            "subject": subject,
            "verifier_peer": wire.peer_id_of(self.node_did),
            "subject_peer": self.peer.peer_id,
            "command": request["cmd"],
            "request_digest": digest,
        }
        return hashlib.sha256(made.data).digest()

    def invocation(
        self, token: bytes, proofs: tuple[bytes, ...] = ()
    ) -> dict[str, Any]:
        """The body of an invoke."""
        with_proofs = {"proofs": list(proofs)} if proofs else {}
        return {"kind": "invoke", "invocation": token, **with_proofs}

    def opened(self, body: dict[str, Any], kind: str, audience: str) -> Statement:
        """Return the statement that an answer is."""
        assert body["kind"] == "stated", body
        assert body["statement_kind"] == kind, body
        opened = wire.open_statement(body["data"], kind, audience)
        assert opened.issuer == self.node_did
        schema.check(kind, opened.value)
        return opened

    def _not_refused(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["kind"] != "refused":
            return body
        refusal = wire.open_statement(body["data"], "refusal", self.peer.did)
        assert refusal.issuer == self.node_did
        schema.check("refusal", refusal.value)
        raise RefusedError(refusal.value)


@dataclass
class Stranger:
    """A peer of the network that is none of ours."""

    peer: Identity
    host: Any
    node_peer: Any
    node_did: str

    async def stream(self, protocol: str) -> Stream:
        """Open a stream to the node."""
        with trio.fail_after(DEADLINE_S):
            opened = await self.host.new_stream(self.node_peer, [TProtocol(protocol)])
        return Stream(opened)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Open a control session."""
        stream = await self.stream(CONTROL)
        try:
            yield Session(stream, self.peer, self.node_did)
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()


@contextlib.asynccontextmanager
async def stranger(address: str, node_did: str) -> AsyncIterator[Stranger]:
    """Dial a node as somebody new; the connection ends with the block."""
    async with _running() as (peer, host), _joined(peer, host, address, node_did) as it:
        yield it


@contextlib.asynccontextmanager
async def listener(
    address: str, node_did: str, topic: str
) -> AsyncIterator[tuple[Stranger, Any]]:
    """Dial a node as somebody new who hears what is gossiped on a topic."""
    async with _running() as (peer, host):
        router = GossipSub(
            [PROTOCOL_ID_V11],
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,
        )
        pubsub = Pubsub(host, router, strict_signing=True)
        async with background_trio_service(router), background_trio_service(pubsub):
            await pubsub.wait_until_ready()
            heard = await pubsub.subscribe(topic)
            async with _joined(peer, host, address, node_did) as it:
                with trio.fail_after(DEADLINE_S):
                    await pubsub.wait_for_subscription(it.node_peer, topic)
                yield it, heard


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[tuple[Identity, Any]]:
    peer = Identity()
    pair = create_new_key_pair(peer.seed)
    host = new_host(
        key_pair=pair,
        sec_opt={NOISE: Noise(pair, noise_privkey=new_noise_key().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
    )
    async with host.run([]):
        assert str(host.get_id()) == peer.peer_id
        yield peer, host


@contextlib.asynccontextmanager
async def _joined(
    peer: Identity, host: Any, address: str, node_did: str
) -> AsyncIterator[Stranger]:
    node = info_from_p2p_addr(Multiaddr(address))
    assert str(node.peer_id) == wire.peer_id_of(node_did)
    try:
        with trio.fail_after(DEADLINE_S):
            await host.connect(node)
        yield Stranger(peer, host, node.peer_id, node_did)
    finally:
        # Leaving alone would keep the connection: the library closes none by itself.
        with trio.CancelScope(shield=True), trio.move_on_after(3):
            await host.close()
