"""The encrypted line between yamux and a socket, with a seal that only counts."""

import socket
from types import SimpleNamespace

import pytest
import trio
from libp2p.io.trio import TrioTCPStream

from nunet_node.network.libp2p.noise_line import (
    MESSAGE_BYTES_MAX,
    PLAIN_BYTES_MAX,
    NoiseLine,
    line_of,
)
from nunet_node.network.libp2p.swarm import BufferedChannel

TAG = bytes(16)


def opened(_ad, data):
    if not data.endswith(TAG):
        raise ValueError("changed on the way")
    return data[:-16]


def sealed(data):
    return (len(data) + 16).to_bytes(2, "big") + data + TAG


def line(ours, plain=b"", buffered=b""):
    channel = BufferedChannel(TrioTCPStream(trio.SocketStream(ours)))
    channel._buffer += buffered
    ciphers = SimpleNamespace(
        cipher_state_encrypt=SimpleNamespace(
            encrypt_with_ad=lambda _ad, data: data + TAG
        ),
        cipher_state_decrypt=SimpleNamespace(decrypt_with_ad=opened),
    )
    raw = SimpleNamespace(stream=channel, kind="direct")
    packets = SimpleNamespace(
        noise_state=SimpleNamespace(noise_protocol=ciphers),
        read_writer=SimpleNamespace(read_write_closer=raw),
    )
    return NoiseLine(SimpleNamespace(conn=packets, _drain=lambda _n: plain))


@pytest.fixture
async def sockets():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield (
            trio.socket.from_stdlib_socket(ours),
            trio.socket.from_stdlib_socket(theirs),
        )


async def test_what_came_in_is_opened_as_a_whole_however_it_is_cut(sockets):
    ours, theirs = sockets
    reader = line(ours)
    data = sealed(b"one") + sealed(b"") + sealed(b"two") + sealed(b"three")
    await theirs.send(data[:-2])
    assert await reader.read() == b"onetwo"
    await theirs.send(data[-2:])
    assert await reader.read() == b"three"


async def test_what_came_with_the_handshakes_is_read_first(sockets):
    ours, theirs = sockets
    late = sealed(b"late")
    reader = line(ours, plain=b"early", buffered=late[:5])
    await theirs.send(late[5:])
    assert await reader.read() == b"early"
    assert await reader.read() == b"late"


async def test_what_came_before_a_changed_message_is_read_before_it_is_told(sockets):
    ours, theirs = sockets
    reader = line(ours)
    await theirs.send(sealed(b"whole") + sealed(b"changed")[:-1] + b"!")
    assert await reader.read() == b"whole"
    for _ in range(2):
        with pytest.raises(ValueError, match="changed"):
            await reader.read()


async def test_the_end_is_told(sockets):
    ours, theirs = sockets
    theirs.close()
    assert await line(ours).read() == b""


async def test_what_the_socket_does_not_take_is_sent_when_it_does(sockets):
    ours, theirs = sockets
    writer, reader = line(ours), line(theirs)
    data = bytes(range(256)) * 20_000
    rest = writer.begin(data)
    assert 0 < len(rest) < len(data)
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.finish, rest)
        while len(got) < len(data):
            got += await reader.read()
    assert got == data


async def test_no_message_is_longer_than_two_bytes_can_say(sockets):
    ours, theirs = sockets
    assert not line(ours).begin(bytes(PLAIN_BYTES_MAX + 1))
    head = await theirs.recv(2)
    assert int.from_bytes(head, "big") == MESSAGE_BYTES_MAX


async def test_writing_to_a_closed_socket_is_an_error(sockets):
    ours, _ = sockets
    writer = line(ours)
    await writer.close()
    with pytest.raises(OSError, match="descriptor"):
        writer.begin(b"data")


async def test_the_librarys_questions_go_to_the_connection_below(sockets):
    assert line(sockets[0]).kind == "direct"


def test_what_is_no_session_stays_as_it_is():
    other = object()
    assert line_of(other) is other
