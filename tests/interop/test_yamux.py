"""Our multiplexer and py-libp2p's own understand each other."""

import pytest
import trio

from nunet_node.network.host import open_host
from nunet_node.network.libp2p import swarm
from nunet_node.network.stream import StreamBroken
from tests.network_peers import (
    ECHO,
    StockYamux,
    answers,
    echo,
    muxed,
    settings,
    swarm_of,
    until,
)


@pytest.fixture(params=["we dial", "we are dialled"])
async def ours_and_stock(request):
    async with open_host(settings(1)) as ours, open_host(settings(2)) as stock:
        upgrader = swarm_of(stock).upgrader
        upgrader.muxer_multistream = swarm.OurMuxer({swarm.YAMUX: StockYamux})
        for host in (ours, stock):
            host.serve(ECHO, echo)
        pair = (ours, stock) if request.param == "we dial" else (stock, ours)
        await pair[0].connect(pair[1].addresses())
        await until(pair[1].connected_peers)
        assert isinstance(muxed(stock, ours.peer_id), StockYamux)
        yield ours, stock


async def test_each_opens_streams_to_the_other(ours_and_stock):
    ours, stock = ours_and_stock
    for _ in range(20):
        assert await answers(ours, stock.peer_id)
        assert await answers(stock, ours.peer_id)


async def test_bulk_goes_both_ways_through_full_windows(ours_and_stock):
    ours, stock = ours_and_stock
    total = 5_000_000

    async def give(stream):
        await stream.send_raw(bytes(total))
        await stream.finish()

    for giver, taker in ((ours, stock), (stock, ours)):
        giver.serve("/nunet/test-give/1", give)
        async with await taker.open_stream(giver.peer_id, "/nunet/test-give/1") as s:
            received = 0
            with trio.fail_after(30):
                while data := await s.receive_some():
                    received += len(data)
        assert received == total


async def test_a_reset_by_the_other_is_told_from_an_end(ours_and_stock):
    ours, stock = ours_and_stock

    async def drop(stream):
        await stream.receive()
        await stream.reset()

    stock.serve("/nunet/test-drop/1", drop)
    stream = await ours.open_stream(stock.peer_id, "/nunet/test-drop/1")
    await stream.send(b"x")
    with pytest.raises(StreamBroken), trio.fail_after(20):
        await stream.receive()


async def test_gossip_goes_both_ways(ours_and_stock):
    ours, stock = ours_and_stock
    channels = {
        host: await host.subscribe("t", lambda _: True) for host in (ours, stock)
    }
    for author, reader in ((ours, stock), (stock, ours)):
        number = 0
        with trio.fail_after(20):
            heard = None
            while heard != author.peer_id:
                number += 1
                await author.publish("t", f"{author.peer_id} {number}".encode())
                with trio.move_on_after(0.2):
                    heard = (await channels[reader].receive()).from_peer
        assert heard == author.peer_id


async def test_each_answers_the_others_pings(ours_and_stock):
    ours, stock = ours_and_stock
    with trio.fail_after(20):
        await muxed(ours, stock.peer_id).ping()
