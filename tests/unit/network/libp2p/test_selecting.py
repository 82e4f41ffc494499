"""Agreeing on a protocol with a peer whose words are written by hand."""

import pytest
import trio
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from nunet_node.network.libp2p.selecting import (
    MULTISTREAM,
    WORD_BYTES_MAX,
    WORDS_MAX,
    agree,
    choose,
    framed,
)

HELLO = framed(MULTISTREAM)


class Peer:
    """Says what it has to say, a few bytes at a time, and notes what it hears."""

    def __init__(self, *said, piece_bytes=5):
        self.said = list(said)
        self.heard = []
        self._piece_bytes = piece_bytes
        self._arrived = b""

    @property
    def has_unread(self):
        return bool(self._arrived)

    async def read(self, n):
        await trio.lowlevel.checkpoint()
        if not self._arrived:
            if not self.said:
                raise MuxedStreamEOF("the peer has ended the stream")
            self._arrived = self.said.pop(0)
        size = min(n, self._piece_bytes)
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return data

    async def write(self, data):
        await trio.lowlevel.checkpoint()
        self.heard.append(data)


def test_a_word_is_sent_after_its_length_and_ends_with_its_line():
    assert framed("na") == b"\x03na\n"
    assert framed("x" * 199) == b"\xc8\x01" + b"x" * 199 + b"\n"


async def test_both_words_are_said_at_once():
    peer = Peer(HELLO + framed("/a/1"))
    await choose(peer, "/a/1")
    assert peer.heard == [HELLO + framed("/a/1")]


async def test_what_follows_the_answer_is_left_on_the_stream():
    peer = Peer(HELLO + framed("/a/1") + b"early")
    await choose(peer, "/a/1")
    assert await peer.read(5) == b"early"


async def test_a_protocol_that_the_peer_does_not_speak_is_told():
    with pytest.raises(MultiselectError, match="not supported"):
        await choose(Peer(HELLO, framed("na")), "/a/1")


async def test_a_peer_that_speaks_something_else_is_told():
    for talk in (choose(Peer(framed("hello")), "/a/1"), agree(Peer(framed("?")), {})):
        with pytest.raises(MultiselectError, match="no multistream"):
            await talk


async def test_who_says_both_words_at_once_gets_one_answer():
    peer = Peer(HELLO + framed("/a/1"))
    assert await agree(peer, {"/a/1"}) == "/a/1"
    assert peer.heard == [HELLO + framed("/a/1")]


async def test_who_waits_for_each_answer_gets_each():
    peer = Peer(HELLO, framed("/b/1"), framed("ls"), framed("/a/1"))
    assert await agree(peer, ["/a/1", "/a/2"]) == "/a/1"
    answers = [HELLO, framed("na"), framed("/a/1\n/a/2\n"), framed("/a/1")]
    assert peer.heard == answers


async def test_a_peer_that_asks_for_ever_more_protocols_is_given_up():
    peer = Peer(HELLO, *([framed("/b/1")] * WORDS_MAX))
    with pytest.raises(MultiselectError, match="ever more"):
        await agree(peer, {"/a/1"})


@pytest.mark.parametrize(
    "said",
    [b"\x00", framed("x" * WORD_BYTES_MAX), b"\x02ab", b"\x02\xff\n", b"\xff\xff"],
)
async def test_what_is_no_word_ends_it(said):
    with pytest.raises(MultiselectError, match="a word"):
        await agree(Peer(said), {"/a/1"})


async def test_a_peer_that_leaves_within_a_word_is_told():
    with pytest.raises(MuxedStreamEOF):
        await agree(Peer(HELLO[:7]), {"/a/1"})
