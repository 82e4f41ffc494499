"""Agreeing on a stream's protocol, in one trip there and back.

The library says each word by itself, waits for its answer, reads it byte by byte, and
takes a lock for every byte. Rule: the words are those of multistream-select, so that
any peer understands them; who opens a stream says both of its words at once, and who
is asked answers at once whatever has come. Source: multistream-select 1.0
(https://github.com/multiformats/multistream-select).
"""

from collections.abc import Collection
from typing import Any, Final, cast

import trio
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.stream_muxer.exceptions import MuxedStreamError

from nunet_node.network.libp2p.substream import YamuxStream

MULTISTREAM: Final = "/multistream/1.0.0"
REFUSED: Final = "na"
LIST: Final = "ls"

WORD_BYTES_MAX: Final = 1024
"""Longest word, its line end included; ours have some twenty bytes."""

WORDS_MAX: Final = 64
"""Protocols that a peer may ask for on one stream before it is given up."""

_MORE: Final = 0x80
"""The bit of a length's byte that says that another follows."""


class OneTrip(Multiselect):  # type: ignore[misc] # the library is untyped
    """Answers peers that open streams with us."""

    async def negotiate(
        self, communicator: Any, negotiate_timeout: float = 30
    ) -> tuple[Any, Any]:
        """Return the protocol that the peer chose, and its handler.

        Raises:
            MultiselectError: it chose none, in time or at all.
        """
        muxed = communicator.read_writer.muxed_stream
        if not isinstance(muxed, YamuxStream):
            # Another multiplexer does not tell what has come.
            return cast("tuple[Any, Any]", await super().negotiate(communicator))
        try:
            with trio.fail_after(negotiate_timeout):
                chosen = await agree(muxed, self.handlers)
        except (MuxedStreamError, trio.TooSlowError) as error:
            raise MultiselectError("the peer chose no protocol") from error
        return chosen, self.handlers[chosen]


async def choose(muxed: Any, protocol: str) -> None:
    """Have a stream that we opened carry a protocol.

    Raises:
        MultiselectError: the peer does not speak it.
        MuxedStreamError: the stream ended first.
    """
    await muxed.write(framed(MULTISTREAM) + framed(protocol))
    if await _word(muxed) != MULTISTREAM:
        raise MultiselectError("the peer speaks no multistream-select")
    if await _word(muxed) != protocol:
        raise MultiselectError(f"{protocol} is not supported")


async def agree(muxed: Any, known: Collection[Any]) -> str:
    """Return which of the known protocols a peer chooses for a stream it opened.

    Raises:
        MultiselectError: it breaks the rules, or chooses none of many it tried.
        MuxedStreamError: the stream ended first.
    """
    if await _word(muxed) != MULTISTREAM:
        raise MultiselectError("the peer speaks no multistream-select")
    answer = framed(MULTISTREAM)
    for _ in range(WORDS_MAX):
        if not muxed.has_unread:
            # It waits for this answer before it goes on.
            await muxed.write(answer)
            answer = b""
        word = await _word(muxed)
        if word in known:
            await muxed.write(answer + framed(word))
            return word
        names = "\n".join(name for name in known if name)
        answer += framed(f"{names}\n" if word == LIST else REFUSED)
    raise MultiselectError("the peer asks for ever more protocols")


def framed(word: str) -> bytes:
    """Return a word as it is sent: its length, and a line end after it."""
    data = word.encode() + b"\n"
    length = bytearray()
    left = len(data)
    while left >= _MORE:
        length.append(left % _MORE | _MORE)
        left //= _MORE
    length.append(left)
    return bytes(length) + data


async def _word(muxed: Any) -> str:
    length = (await _exactly(muxed, 1))[0]
    if length & _MORE:
        length = length - _MORE + (await _exactly(muxed, 1))[0] * _MORE
    if not 0 < length <= WORD_BYTES_MAX:
        raise MultiselectError(f"a word of {length} bytes")
    data = await _exactly(muxed, length)
    if not data.endswith(b"\n"):
        raise MultiselectError("a word without an end")
    try:
        return data[:-1].decode()
    except UnicodeDecodeError as error:
        raise MultiselectError("a word that is no text") from error


async def _exactly(muxed: Any, size: int) -> bytes:
    data: bytes = await muxed.read(size)
    while len(data) < size:
        data += await muxed.read(size - len(data))
    return data
