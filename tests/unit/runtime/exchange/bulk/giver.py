"""Whoever gives blocks on bulk connections that break, or as it likes."""

import socket
import threading
from contextlib import asynccontextmanager

from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.dialling import BulkRefused
from nunet_node.network.stream import StreamBroken
from nunet_node.runtime.exchange.requests import Block, No, Want
from nunet_node.wire.schema import decode_record, encode_record

KEY = bytes(range(32))
ALL = 1 << 30
"""More bytes than any connection here carries."""


class CutSocket:
    """A socket that breaks once so many bytes have left."""

    def __init__(self, inner, bytes_max):
        self._inner, self._left = inner, bytes_max

    def send(self, data):
        part = data[: self._left]
        self._left -= len(part)
        if not part:
            self._inner.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError
        return self._inner.send(part)

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Giver:
    """Gives blocks on each of some connections; then there are no more.

    Each connection is a number of bytes after which it breaks, or a function that
    answers for a block in its own way.
    """

    def __init__(self, *connections, blocks, open_channel=Channel):
        self._connections = list(connections)
        self._blocks = blocks
        self._open = open_channel
        self.asked = []

    @asynccontextmanager
    async def channel(self, _peer_id):
        if not self._connections:
            raise BulkRefused("no way to the giver")
        how = self._connections.pop(0)
        ours, theirs = socket.socketpair()
        bare = CutSocket(theirs, how) if isinstance(how, int) else theirs
        answer = self.answer if isinstance(how, int) else how
        theirs = Channel(bare, KEY, door=True)
        channel = self._open(ours, KEY, door=False)
        thread = threading.Thread(target=self._give, args=(theirs, answer))
        thread.start()
        try:
            yield channel
        finally:
            channel.close()
            thread.join()
            theirs.close()

    def _give(self, channel, answer):
        try:
            while (data := channel.receive_frame()) is not None:
                for cid in decode_record(Want, data, bytes_max=1 << 20).cids:
                    self.asked.append(cid)
                    answer(channel, cid)
        except StreamBroken:
            channel.cut()

    def answer(self, channel, cid):
        if cid not in self._blocks:
            channel.send(encode_record(No()))
            return
        channel.send(encode_record(Block(size_bytes=len(self._blocks[cid]))))
        channel.send(self._blocks[cid])
