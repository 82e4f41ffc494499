"""This machine's own way to the outside, as far as it leads without leaving it."""

import pytest
import trio

from nunet_node.executors.proxy.outside import Internet, why_not_dialled


async def test_a_name_is_looked_up_and_all_its_addresses_are_told_once():
    found = await Internet().addresses("localhost", 80)
    assert found
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(set(found)) == len(found)


async def test_what_is_dialled_is_the_address_and_nothing_else():
    outside = Internet()
    async with trio.open_nursery() as serving:
        listeners = await serving.start(trio.serve_tcp, _greet, 0)
        port = listeners[0].socket.getsockname()[1]
        async with await outside.dial("127.0.0.1", port) as stream:
            assert await stream.receive_some() == b"hello"
        serving.cancel_scope.cancel()


async def _greet(stream: trio.SocketStream) -> None:
    await stream.send_all(b"hello")


async def test_nobody_at_an_address_is_an_error_of_the_system():
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await Internet().dial("127.0.0.1", port)


def test_where_we_would_dial_from_is_known_without_dialling():
    assert Internet().source("127.0.0.1", 80) == "127.0.0.1"


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111"])
def test_a_public_address_is_dialled(address: str):
    assert why_not_dialled(address, "192.168.1.2") == ""
    assert why_not_dialled(address, "fd00::2") == ""
