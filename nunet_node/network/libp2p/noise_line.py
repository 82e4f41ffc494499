"""The encrypted bytes of one connection, straight between yamux and its socket.

Once both sides have proved who they are, the library passes every message through
five layers, each with a lock and a turn of the event loop of its own, asks for two
bytes and then for the rest. Rule: the format is the same, sealed messages of at most
65535 bytes after their length; what came in is opened as a whole, and what goes out is
offered to the socket at once. Source: the noise specification of libp2p
(https://github.com/libp2p/specs/tree/master/noise), "Wire format".
"""

import os
from typing import Any, Final

import trio
from libp2p.security.secure_session import SecureSession

from nunet_node.network.stream import READ_BYTES

LENGTH_BYTES: Final = 2
TAG_BYTES: Final = 16
MESSAGE_BYTES_MAX: Final = 65_535
"""Sealed bytes after one length, as two bytes can say it."""

PLAIN_BYTES_MAX: Final = MESSAGE_BYTES_MAX - TAG_BYTES
"""What is left of a message for the bytes that are sealed in it."""


def line_of(secured_conn: Any) -> Any:
    """Return the line of a session of the library, and anything else as it is."""
    if isinstance(secured_conn, SecureSession):
        return NoiseLine(secured_conn)
    return secured_conn


class NoiseLine:
    """Stands in for a `SecureSession` of the library, from its present state on."""

    def __init__(self, session: Any) -> None:
        """Take over: whoever goes on using the session breaks the line."""
        packets = session.conn
        ciphers = packets.noise_state.noise_protocol
        self._raw = packets.read_writer.read_write_closer
        self._channel = self._raw.stream
        self._seal = ciphers.cipher_state_encrypt.encrypt_with_ad
        self._open = ciphers.cipher_state_decrypt.decrypt_with_ad
        # What came with the last words of the handshakes belongs to yamux.
        self._plain: bytes = session._drain(None)  # noqa: SLF001 - no other way
        self._sealed: bytearray = self._channel.take_buffered()

    @property
    def socket(self) -> Any:
        """The socket under it."""
        return self._channel.stream.socket

    async def read(self) -> bytes:
        """Return what came in, at least a byte; none at the end.

        Raises:
            Exception: the connection broke, or somebody changed its bytes.
        """
        plain, self._plain = self._plain or self._opened(), b""
        while not plain:
            await trio.lowlevel.wait_readable(self.socket)
            try:
                data = os.read(self.socket.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                return b""
            self._sealed += data
            plain = self._opened()
        return plain

    def begin(self, data: bytes) -> bytes:
        """Send what the socket takes at once; return what is left, sealed.

        It is for `finish`, before anything else is sent. Never waits.

        Raises:
            OSError: the connection broke.
        """
        sealed = bytearray()
        for start in range(0, len(data), PLAIN_BYTES_MAX):
            message = self._seal(None, data[start : start + PLAIN_BYTES_MAX])
            sealed += len(message).to_bytes(LENGTH_BYTES, "big") + message
        try:
            taken = os.write(self.socket.fileno(), sealed)
        except BlockingIOError:
            taken = 0
        return bytes(sealed[taken:])

    async def finish(self, sealed: bytes) -> None:
        """Send what `begin` left; a cancelled call may have sent a part.

        Raises:
            Exception: the connection broke.
        """
        await self._channel.write(sealed)

    async def write(self, data: bytes) -> None:
        """Send all of this, as `begin` and `finish`."""
        rest = self.begin(data)
        if rest:
            await self.finish(rest)

    async def close(self) -> None:
        """Close the socket."""
        await self._channel.close()

    def __getattr__(self, name: str) -> Any:
        """Answer what the library asks of a connection: its addresses and its kind."""
        return getattr(self._raw, name)

    def _opened(self) -> bytes:
        """Open every message that is here as a whole."""
        sealed, plain, start = self._sealed, b"", 0
        while len(sealed) - start >= LENGTH_BYTES:
            begin = start + LENGTH_BYTES
            stop = begin + int.from_bytes(sealed[start:begin], "big")
            if len(sealed) < stop:
                break
            try:
                plain += self._open(None, bytes(sealed[begin:stop]))
            except Exception:
                if plain:
                    # What came before was said by the peer itself.
                    break
                raise
            start = stop
        del sealed[:start]
        return plain
