"""A web server for DID documents on loopback, under a name and a certificate of ours.

The name is led here by a resolver, and the certificate is trusted by whoever is given
`Web.context`: both are arguments of the fetch, so nothing in the program looks away.
"""

import datetime as dt
import json
import ssl
from contextlib import asynccontextmanager
from functools import partial

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nunet_node.identity.did import Did, resolve
from nunet_node.identity.methods.did_web import document_under
from nunet_node.identity.methods.w3c import to_w3c
from nunet_node.network.did_web import fetch_document

HOST = "did.example.com"


def certificate(folder, name=HOST):
    """Return the file of a new key, and of a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return pem


class Names(trio.abc.HostnameResolver):
    """Leads every name to one address."""

    def __init__(self, address):
        self.address = address

    async def getaddrinfo(self, host, port, *_args, **_more):
        kind = trio.socket.AF_INET6 if ":" in self.address else trio.socket.AF_INET
        return [(kind, trio.socket.SOCK_STREAM, 6, "", (self.address, port))]

    async def getnameinfo(self, *_args):
        raise NotImplementedError


def page(body, status="200 OK", length=None, more=""):
    """Return an HTTP answer."""
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n"
    return head.encode() + body


def published(did, *key_dids, **changes):
    """Return the document in which a did:web names these keys, the first preferred."""
    plain = [to_w3c(document_under(did, resolve(key))) for key in key_dids]
    whole = plain[0] if plain else {"id": did}
    for more in plain[1:]:
        for name, found in more.items():
            if name not in ("@context", "id"):
                whole[name] = whole[name] + found
    return json.dumps({**whole, **changes}).encode()


class Web:
    """One web server; what it answers may be changed at any time."""

    def __init__(self, port, context):
        self.port = port
        self.context = context
        self.answers = {}
        """By path: the parts of an answer, or a function that returns them."""
        self.asked = []
        self.held = None
        """An event that every answer waits for, if it is set."""

    def did(self, path=""):
        """Return the did:web of a path here."""
        return Did(f"did:web:{HOST}%3A{self.port}{path and ':' + path}")

    def publish(self, did, *key_dids, **changes):
        """Let a document be found."""
        self.answers[_path(did)] = [page(published(did, *key_dids, **changes))]

    @property
    def fetch(self):
        """What fetches from here, and would from anywhere."""
        return partial(fetch_document, context=self.context, allow_private=True)

    async def serve(self, secured, stream):
        tls = trio.SSLStream(stream, secured, server_side=True)
        try:
            heard = await tls.receive_some(4096)
            path = heard.split(b" ")[1].decode()
            self.asked.append(path)
            if self.held is not None:
                await self.held.wait()
            answer = self.answers.get(path, [page(b"", "404 Not Found")])
            for part in answer() if callable(answer) else answer:
                await tls.send_all(part)
            await tls.aclose()
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(tls)


def _path(did):
    parts = did.split(":")[3:]
    return "/" + "/".join(
        (*parts, "did.json") if parts else (".well-known", "did.json")
    )


@asynccontextmanager
async def open_web(folder):
    """Serve documents on loopback for as long as the block, under `HOST`."""
    pem = certificate(folder)
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(pem)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    web = Web(port, ssl.create_default_context(cafile=str(pem)))
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                trio.serve_listeners, partial(web.serve, secured), listeners
            )
            yield web
            nursery.cancel_scope.cancel()
    finally:
        trio.socket.set_custom_hostname_resolver(None)
