"""A did:web's document is fetched from its own public host, within limits, or not."""

import ipaddress
import json
import ssl

import pytest
import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, Relationship
from nunet_node.identity.keys import SigningKey
from nunet_node.network import did_web
from nunet_node.network.did_web import FetchError, fetch_document
from tests.web_kit import HOST, Names, certificate, page

KEY = SigningKey(bytes(32)).did.removeprefix("did:key:")


@pytest.fixture
def pem(tmp_path):
    return certificate(tmp_path)


async def ask(
    nursery, pem, answer, *, address="127.0.0.1", path="", trust=True, **more
):
    """Serve an answer on loopback under the host's name, and fetch it."""
    heard = []
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)

    async def serve(stream):
        tls = trio.SSLStream(stream, server, server_side=True)
        try:
            heard.append(await tls.receive_some(4096))
            for part in answer(did) if callable(answer) else [answer]:
                await tls.send_all(part)
            await tls.aclose()
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(tls)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    port = listeners[0].socket.getsockname()[1]
    did = Did(f"did:web:{HOST}%3A{port}{path}")
    client = ssl.create_default_context(cafile=str(pem) if trust else None)
    trio.socket.set_custom_hostname_resolver(Names(address))
    try:
        found = await fetch_document(
            did, context=client, **{"allow_private": True, **more}
        )
    finally:
        trio.socket.set_custom_hostname_resolver(None)
        nursery.cancel_scope.cancel()
    return found, heard


def document(did, **changes):
    method = {"id": "#k", "type": "Multikey", "publicKeyMultibase": KEY}
    plain = {"id": did, "verificationMethod": [method], "authentication": ["#k"]}
    return json.dumps({**plain, **changes}).encode()


async def test_the_document_of_the_host_is_read(nursery, pem):
    found, heard = await ask(nursery, pem, lambda did: [page(document(did))])
    assert found.key_for(Relationship.AUTHENTICATION).did == found.did
    assert heard[0].startswith(b"GET /.well-known/did.json HTTP/1.1\r\n")


async def test_a_path_in_the_did_is_a_path_on_the_host(nursery, pem):
    _, heard = await ask(nursery, pem, lambda did: [page(document(did))], path=":u:x")
    assert heard[0].startswith(b"GET /u/x/did.json ")


async def test_a_document_in_pieces_without_a_length_is_read(nursery, pem):
    def answer(did):
        body = document(did)
        return [b"HTTP/1.1 200 OK\r\n", b"A: b\r\n\r\n" + body[:9], body[9:]]

    found, _ = await ask(nursery, pem, answer)
    assert found.keys


BAD = {
    "another's": lambda did: [page(document(did, id="did:web:evil.example.com"))],
    "a redirect": lambda did: [
        page(b"", "302 Found", more="Location: https://evil.example.com/\r\n")
    ],
    "not there": lambda did: [page(document(did), "404 Not Found")],
    "too large": lambda did: [page(document(did), length=10_000_000)],
    "too large unsaid": lambda did: [b"HTTP/1.1 200 OK\r\n\r\n"] + [b" " * 60_000] * 9,
    "cut short": lambda did: [page(document(did), length=len(document(did)) + 1)],
    "in chunks": lambda did: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
    ],
    "no http": lambda did: [b"\r\n\r\n" + document(did)],
    "an endless head": lambda did: [b"HTTP/1.1 200 OK\r\n"] + [b"a: b\r\n" * 2000] * 9,
    "silence": lambda did: [],
    "no length": lambda did: [
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + document(did)
    ],
}


@pytest.mark.parametrize("what", BAD)
async def test_an_answer_that_is_not_the_document_is_refused(nursery, pem, what):
    with pytest.raises(PeerError):
        await ask(nursery, pem, BAD[what])


async def test_a_server_without_a_certificate_that_is_trusted_is_refused(nursery, pem):
    with pytest.raises(FetchError, match="cannot be asked"):
        await ask(nursery, pem, lambda did: [page(document(did))], trust=False)


async def test_a_server_with_anothers_certificate_is_refused(nursery, tmp_path):
    other = certificate(tmp_path, "evil.example.com")
    with pytest.raises(FetchError, match="cannot be asked"):
        await ask(nursery, other, lambda did: [page(document(did))])


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_inward_is_not_followed(nursery, pem, address):
    with pytest.raises(FetchError, match="not public"):
        await ask(nursery, pem, b"", address=address, allow_private=False)
    assert not ipaddress.ip_address(address).is_global


async def test_a_host_that_never_answers_is_given_up(nursery, pem, autojump_clock):
    async def serve(stream):
        await trio.sleep_forever()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    port = listeners[0].socket.getsockname()[1]
    autojump_clock.autojump_threshold = 0.5
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    with pytest.raises(FetchError, match=f"within {did_web.FETCH_S} s"):
        await fetch_document(Did(f"did:web:{HOST}%3A{port}"), allow_private=True)
    trio.socket.set_custom_hostname_resolver(None)
    nursery.cancel_scope.cancel()
