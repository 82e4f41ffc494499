"""Going to nodes unasked: who is met, who is gone back to, and for how long."""

from contextlib import asynccontextmanager

import trio

from nunet_node.identity.statement import Statement, topic_audience
from nunet_node.market.offers import ADVERT_TOPIC, Advert
from nunet_node.market.table import AdvertTable
from nunet_node.network.memory import MemoryNetwork
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.exchange.acquaintances import (
    ADDRESSES_TRIED_MAX,
    KEPT_S,
    LOOK_S,
    STRANGER_PAUSE_S,
    WANTED,
    Acquaintances,
)
from tests.runtime_kit import key, peer_id

NOW_S = 1_000_000


def place(number, host="127.0.0.1"):
    return f"/ip4/{host}/tcp/{number}/p2p/{peer_id(number)}"


def advert(number, *addresses):
    """Return what is heard of a node that says that it is at these addresses."""
    return Statement(
        issuer=key(number).did,
        audience=topic_audience(ADVERT_TOPIC),
        issued_at_s=NOW_S,
        expires_at_s=NOW_S + 60,
        cti=b"",
        domain=b"",
        payload=Advert(peer_id=peer_id(number), addresses=addresses, sequence=1),
        data=b"",
    )


class Goer:
    """Host 1 with its acquaintances, what it heard, and whom it dialled."""

    def __init__(self, host, own=None):
        self._host = host
        self._own = own
        self.peer_id = host.peer_id
        self.dialled = []
        self.adverts = AdvertTable()
        self.acquaintances = Acquaintances(self, self.adverts, Clock(lambda: NOW_S))

    def hears(self, number, *addresses):
        said = addresses or (place(number),)
        assert self.adverts.hear(advert(number, *said), NOW_S)

    def connected_peers(self):
        return self._host.connected_peers()

    def addresses(self):
        return self._own or self._host.addresses()

    async def connect(self, addresses):
        self.dialled.append(tuple(addresses))
        return await self._host.connect(addresses)


@asynccontextmanager
async def going(network, own=None):
    async with network.open_host(peer_id(1)) as host, trio.open_nursery() as nursery:
        goer = Goer(host, own)
        nursery.start_soon(goer.acquaintances.run)
        yield goer
        nursery.cancel_scope.cancel()


async def looks(count=3):
    await trio.sleep(count * LOOK_S)


async def test_a_node_that_was_heard_of_is_met(autojump_clock):
    network = MemoryNetwork()
    async with going(network) as goer, network.open_host(peer_id(2)):
        goer.hears(2)
        await looks()
        assert goer.connected_peers() == {peer_id(2)}
        assert peer_id(2) in goer.acquaintances


async def test_no_more_are_met_than_are_wanted(autojump_clock):
    network = MemoryNetwork()
    async with going(network) as goer, trio.open_nursery() as nursery:
        for number in range(2, WANTED + 6):
            await nursery.start(_stay_up, network, peer_id(number))
            goer.hears(number)
        await looks(3 * WANTED)
        assert len(goer.connected_peers()) == WANTED
        nursery.cancel_scope.cancel()


async def test_a_node_that_was_lost_is_found_when_it_is_back(autojump_clock):
    network = MemoryNetwork()
    async with going(network) as goer:
        async with network.open_host(peer_id(2)):
            goer.hears(2)
            await looks()
        goer.adverts.forget(peer_id(2))
        await trio.sleep(KEPT_S / 2)
        assert goer.connected_peers() == frozenset()
        async with network.open_host(peer_id(2)):
            await trio.sleep(60)
            assert goer.connected_peers() == {peer_id(2)}


async def test_a_node_that_stays_away_is_dialled_ever_less_and_then_forgotten(
    autojump_clock,
):
    network = MemoryNetwork()
    async with going(network) as goer:
        async with network.open_host(peer_id(2)):
            goer.hears(2)
            await looks()
        goer.adverts.forget(peer_id(2))
        goer.dialled.clear()
        await trio.sleep(KEPT_S + 60)
        assert 60 < len(goer.dialled) < 200
        assert peer_id(2) not in goer.acquaintances
        goer.dialled.clear()
        await trio.sleep(KEPT_S)
        assert goer.dialled == []


async def test_whoever_comes_to_us_is_gone_back_to_as_well(autojump_clock):
    network = MemoryNetwork()
    async with going(network) as goer:
        async with network.open_host(peer_id(2)) as two:
            await two.connect(goer.addresses())
            goer.hears(2)
            await looks()
        goer.adverts.forget(peer_id(2))
        async with network.open_host(peer_id(2)):
            await trio.sleep(60)
            assert goer.connected_peers() == {peer_id(2)}


async def test_a_connection_too_young_to_be_noticed_is_gone_back_to_as_well(
    autojump_clock,
):
    network = MemoryNetwork()
    async with going(network) as goer:
        async with network.open_host(peer_id(2)) as two:
            await two.connect(goer.addresses())
            goer.hears(2)
        goer.acquaintances.lost(peer_id(2))
        goer.adverts.forget(peer_id(2))
        async with network.open_host(peer_id(2)):
            await trio.sleep(60)
            assert goer.connected_peers() == {peer_id(2)}


async def test_a_node_out_of_reach_is_left_alone_for_a_while(autojump_clock):
    async with going(MemoryNetwork()) as goer:
        goer.hears(2)
        await trio.sleep(STRANGER_PAUSE_S - 10)
        assert len(goer.dialled) == 1
        await trio.sleep(STRANGER_PAUSE_S)
        assert len(goer.dialled) == 2
        assert peer_id(2) not in goer.acquaintances


async def test_an_advert_sends_nobody_to_another_node_or_name(autojump_clock):
    async with going(MemoryNetwork()) as goer:
        goer.hears(2, place(3))
        goer.hears(4, f"/dns4/victim.example/tcp/1/p2p/{peer_id(4)}")
        goer.hears(5, "no address")
        await looks(6)
        assert [each for each in goer.dialled if each] == []


async def test_a_node_on_a_network_is_not_sent_to_its_own_machine(autojump_clock):
    own = [place(1, "192.0.2.1")]
    async with going(MemoryNetwork(), own) as goer:
        goer.hears(2, place(2), place(2, "192.0.2.2"))
        goer.hears(3)
        await looks(6)
        assert [each for each in goer.dialled if each] == [(place(2, "192.0.2.2"),)]


async def test_of_many_addresses_a_few_are_dialled(autojump_clock):
    async with going(MemoryNetwork()) as goer:
        goer.hears(2, *(f"/ip4/192.0.2.{n}/tcp/1/p2p/{peer_id(2)}" for n in range(9)))
        await looks()
        assert [len(each) for each in goer.dialled] == [ADDRESSES_TRIED_MAX]


async def _stay_up(network, peer, task_status):
    async with network.open_host(peer):
        task_status.started()
        await trio.sleep_forever()
