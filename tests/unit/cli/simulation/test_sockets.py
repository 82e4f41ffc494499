"""Whose a connection is can be told from its local port."""

import os

import trio

from nunet_node.cli.simulation import sockets
from nunet_node.cli.simulation.sockets import holder_of


async def connected(check):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        check(stream.socket.getsockname()[1], port)
    await listeners[0].aclose()


async def test_the_process_that_dialled_is_found_among_others():
    def check(local, _):
        assert holder_of(local, [1, os.getpid()]) == os.getpid()
        assert holder_of(local, []) is None
        assert holder_of(1, [os.getpid()]) is None

    await connected(check)


async def test_it_is_found_without_a_table_of_connections_too(monkeypatch, tmp_path):
    monkeypatch.setattr(sockets, "_TABLE", tmp_path / "absent")

    def check(local, _):
        assert holder_of(local, [os.getpid()]) == os.getpid()
        assert holder_of(1, [os.getpid()]) is None

    await connected(check)
