"""Where runners on the machines of a cluster meet the provider that sent them.

Rule: a runner dials; the provider listens. The ticket that went with the job holds
where to dial, a certificate made for this process, and a token that admits one
runner, once. So neither end believes anybody else on the network between, and what
they say stays between them. Source: TLS 1.3 (RFC 8446).
"""

import base64
import contextlib
import datetime as dt
import logging
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from nunet_node.errors import MisuseError
from nunet_node.executors.cluster.link import (
    TOKEN_BYTES,
    Hello,
    Link,
    LinkLostError,
    Word,
)
from nunet_node.executors.cluster.port import ClusterError

HELLO_S: Final = 15
"""Longest wait for a runner's first word."""
DIAL_S: Final = 20
"""Longest wait for the provider to answer a runner."""
GREETING_MAX: Final = 256
"""Connections that have not said a first word; one machine starts few jobs at once."""
CERTIFICATE_BYTES_MAX: Final = 4096
"""Longest certificate in a ticket; ours have some 300 bytes."""
_NAME: Final = "nunet-node"
_EVER: Final = (
    dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2200, 1, 1, tzinfo=dt.UTC),
)
"""The certificate lives as long as its key, which is the process: no clock of a
machine of the cluster has to agree."""

_log = logging.getLogger("nunet_node.executors.cluster.rendezvous")

Base64 = Annotated[str, msgspec.Meta(max_length=2 * CERTIFICATE_BYTES_MAX)]


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a runner needs to meet its provider; secret."""

    host: Annotated[str, msgspec.Meta(max_length=256)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    token: Base64
    certificate: Base64


@dataclass(slots=True, kw_only=True, eq=False)
class Meeting:
    """One runner that is expected."""

    ticket: str
    link: Link | None = None
    _come: trio.Event = field(default_factory=trio.Event)

    async def arrived(self) -> Link:
        """Return the runner's link, when it has come."""
        await self._come.wait()
        if self.link is None:
            raise MisuseError("a meeting without a link")
        return self.link

    def meet(self, link: Link) -> None:
        """Hand over the link of the runner that came."""
        self.link = link
        self._come.set()


@dataclass(slots=True, kw_only=True, eq=False)
class Rendezvous:
    """The provider's side; `open_rendezvous` makes it."""

    host: str
    port: int
    identity: "Identity"
    _expected: dict[bytes, Meeting] = field(default_factory=dict)
    _greeting: int = 0

    @contextlib.asynccontextmanager
    async def expecting(self) -> AsyncIterator[Meeting]:
        """Expect one runner for as long as the block; afterwards its token is void."""
        token = secrets.token_bytes(TOKEN_BYTES)
        ticket = Ticket(
            host=self.host,
            port=self.port,
            token=base64.b64encode(token).decode(),
            certificate=base64.b64encode(self.identity.certificate).decode(),
        )
        meeting = Meeting(ticket=msgspec.json.encode(ticket).decode())
        self._expected[token] = meeting
        try:
            yield meeting
        finally:
            self._expected.pop(token, None)
            if meeting.link is not None:
                await meeting.link.aclose()

    async def greet(self, stream: trio.SocketStream) -> None:
        """Take in one connection: hand it to whoever expects it, or end it."""
        secured = trio.SSLStream(
            stream, self.identity.context, server_side=True, https_compatible=True
        )
        link, meeting = Link(secured), None
        try:
            if self._greeting < GREETING_MAX:
                meeting = await self._greeted(link)
        except LinkLostError as error:
            _log.info("somebody who is no runner of ours came: %s", error)
        except Exception:  # noqa: BLE001 - whatever comes, the node goes on
            _log.exception("a connection met a bug")
        if meeting is None:
            await link.aclose()
        else:
            meeting.meet(link)
            # The connection ends with this task.
            await link.closed.wait()

    async def _greeted(self, link: Link) -> Meeting | None:
        meeting = None
        self._greeting += 1
        try:
            with trio.move_on_after(HELLO_S):
                meeting = self._admitted(link, await link.receive())
        finally:
            self._greeting -= 1
        return meeting

    def _admitted(self, link: Link, word: Word) -> Meeting | None:
        if not isinstance(word, Hello):
            return None
        link.machine = word.machine
        return self._expected.pop(word.token, None)


@contextlib.asynccontextmanager
async def open_rendezvous(host: str, port: int) -> AsyncIterator[Rendezvous]:
    """Listen for runners for as long as the block.

    Args:
        host: an address of this machine that the machines of the cluster can dial.
        port: 0 is one that is free.

    Raises:
        ClusterError: it is no address of this machine, or the port is taken.
    """
    try:
        [listener] = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise ClusterError(f"cannot listen on {host} port {port}: {error}") from None
    rendezvous = Rendezvous(
        host=host, port=listener.socket.getsockname()[1], identity=new_identity()
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, rendezvous.greet, [listener])
        yield rendezvous
        nursery.cancel_scope.cancel()


def read_ticket(text: str) -> Ticket:
    """Read the ticket that went with a job.

    Raises:
        ClusterError: it is none.
    """
    try:
        return msgspec.json.decode(text, type=Ticket)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ClusterError(f"no ticket: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a provider proves itself with to its runners, as long as it runs."""

    certificate: bytes
    context: ssl.SSLContext


def new_identity() -> Identity:
    """Make a key and its certificate."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EVER[0])
        .not_valid_after(_EVER[1])
        .sign(key, None)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The library reads keys from files alone.
    with tempfile.NamedTemporaryFile() as file:
        file.write(secret + certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Identity(certificate=der, context=context)


async def dial(ticket: Ticket, machine: str) -> Link:
    """Meet the provider that a ticket names.

    Raises:
        ClusterError: the ticket is none.
        LinkLostError: nobody is there, or it is somebody else.
    """
    try:
        context = _trusting(base64.b64decode(ticket.certificate))
        token = base64.b64decode(ticket.token)
    except (ValueError, ssl.SSLError) as error:
        raise ClusterError(f"no ticket: {error}") from None
    try:
        with trio.fail_after(DIAL_S):
            stream = await trio.open_tcp_stream(ticket.host, ticket.port)
    except (OSError, trio.TooSlowError) as error:
        raise LinkLostError(f"no provider at {ticket.host}: {error}") from None
    link = Link(
        trio.SSLStream(stream, context, server_hostname=_NAME, https_compatible=True)
    )
    try:
        await link.send(Hello(token=token, machine=machine))
    except BaseException:
        await link.aclose()
        raise
    return link


def _trusting(certificate: bytes) -> ssl.SSLContext:
    """Return a context that believes this one certificate, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    return context
