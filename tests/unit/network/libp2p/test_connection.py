"""A yamux connection over a line that only notes what leaves."""

import trio
from trio.testing import wait_all_tasks_blocked

from nunet_node.network.libp2p.connection import (
    QUEUED_DATA_BYTES_MAX,
    YamuxConnection,
)
from nunet_node.network.libp2p.substream import SOON_BYTES_MAX


class Line:
    """Takes in everything, and says nothing."""

    def __init__(self):
        self.left = []

    async def read(self):
        await trio.sleep_forever()

    def begin(self, data):
        self.left.append(data)
        return b""


async def test_what_is_said_in_one_turn_leaves_together(nursery):
    line = Line()
    connection = YamuxConnection(line, "them", is_initiator=True)
    nursery.start_soon(connection.start)
    await wait_all_tasks_blocked()

    streams = [await connection.open_stream() for _ in range(3)]
    for stream in streams:
        await stream.write(b"a message")
    await streams[0].close()
    await wait_all_tasks_blocked()

    assert len(line.left) == 1
    assert line.left[0].count(b"a message") == 3


async def test_no_more_is_queued_than_leaves_as_one_message(nursery):
    line = Line()
    connection = YamuxConnection(line, "them", is_initiator=True)
    nursery.start_soon(connection.start)
    await wait_all_tasks_blocked()

    stream = await connection.open_stream()
    for _ in range(8):
        await stream.write(bytes(SOON_BYTES_MAX))
    await wait_all_tasks_blocked()

    assert max(map(len, line.left)) <= QUEUED_DATA_BYTES_MAX + SOON_BYTES_MAX + 12
    assert sum(map(len, line.left)) == 8 * (SOON_BYTES_MAX + 12) + 12
