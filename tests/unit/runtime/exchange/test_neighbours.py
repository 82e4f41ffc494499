"""Joining: who was named is reached, asked once, and missed when gone."""

import pytest
import trio

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.revocation import seal_revocation
from nunet_node.identity.statement import seal, topic_audience
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, Advert
from nunet_node.market.table import AdvertTable
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.port import AddressError
from nunet_node.protocol.inputs import (
    AdvertsHeard,
    NeighbourFound,
    PeerGone,
    RevocationsHeard,
)
from nunet_node.protocol.messages import REVOCATIONS_TOPIC
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.exchange.neighbours import STRAGGLERS_S, Neighbours
from tests.runtime_kit import key, peer_id

NOW_S = 1_000_000


def address(number):
    return f"/ip4/127.0.0.1/tcp/{number}/p2p/{peer_id(number)}"


def advert(number, sequence=1, now_s=NOW_S):
    signer = key(number)
    payload = Advert(peer_id=peer_id(number), addresses=(), sequence=sequence)
    return seal(
        payload,
        kind=ADVERT,
        signer=signer,
        audience=topic_audience(ADVERT_TOPIC),
        now_s=now_s,
        ttl_s=30,
        nonce=bytes(16),
    )


class Joiner:
    """Neighbours of host 1, and the inputs that come of them."""

    def __init__(self, host, named):
        self.sender, self.inputs = trio.open_memory_channel(100)
        self.gone = []
        self.neighbours = Neighbours(
            *(host, named, self.sender.send, self.gone.append),
            adverts=AdvertTable(),
            clock=Clock(lambda: NOW_S),
        )

    async def run(self, gossip=False, mdns=False):
        await self.neighbours.run(gossip=gossip, mdns=mdns)

    async def next(self):
        with trio.fail_after(60):
            return await self.inputs.receive()


@pytest.fixture
async def net():
    network = MemoryNetwork()
    async with (
        network.open_host(peer_id(1)) as one,
        network.open_host(peer_id(2)) as two,
    ):
        yield network, one, two


async def test_a_named_peer_is_reached_and_asked(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run)
    assert await joiner.next() == NeighbourFound(peer_id=two.peer_id)
    assert two.peer_id in one.connected_peers()


async def test_waiting_ends_when_every_named_peer_has_spoken(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run)
    await joiner.next()
    joiner.neighbours.settle("somebody else")
    joiner.neighbours.settle(two.peer_id)
    with trio.fail_after(10):
        joined = await joiner.neighbours.wait_settled(60)
    assert joined.neighbours == {two.peer_id}
    assert joined.failures == ()


async def test_those_who_spoke_are_asked_again_when_that_is_wanted(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run)
    await joiner.next()
    assert not joiner.neighbours.all_spoke
    await joiner.neighbours.ask_again(10)
    joiner.neighbours.settle(two.peer_id)
    assert joiner.neighbours.all_spoke
    nursery.start_soon(joiner.neighbours.ask_again, 60)
    assert await joiner.next() == NeighbourFound(peer_id=two.peer_id)
    assert not joiner.neighbours.all_spoke
    joiner.neighbours.settle(two.peer_id)
    assert joiner.neighbours.all_spoke
    with pytest.raises(trio.WouldBlock):
        joiner.inputs.receive_nowait()


async def test_a_named_peer_is_findable_as_soon_as_it_is_connected(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    found = trio.Event()

    async def find():
        await joiner.neighbours.wait_findable(two.peer_id, 3600)
        found.set()

    nursery.start_soon(find)
    await trio.testing.wait_all_tasks_blocked()
    assert not found.is_set()
    nursery.start_soon(joiner.run)
    with trio.fail_after(60):
        await found.wait()
    assert not joiner.neighbours.all_spoke


async def test_a_named_peer_out_of_reach_is_sought_among_the_others(net, nursery):
    _, one, two = net
    joiner = Joiner(one, (*two.addresses(), address(9)))
    nursery.start_soon(joiner.run)
    await joiner.next()
    found = trio.Event()

    async def find():
        await joiner.neighbours.wait_findable(peer_id(9), 3600)
        found.set()

    nursery.start_soon(find)
    await trio.testing.wait_all_tasks_blocked()
    assert not found.is_set()
    joiner.neighbours.settle(two.peer_id)
    with trio.fail_after(60):
        await found.wait()


async def test_waiting_ends_with_its_time(net, nursery, autojump_clock):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run)
    before = trio.current_time()
    await joiner.neighbours.wait_settled(5)
    assert trio.current_time() - before == pytest.approx(5)


async def test_one_peer_that_hangs_does_not_hold_up_what_another_said(
    net, nursery, autojump_clock
):
    network, one, two = net
    async with network.open_host(peer_id(3)) as three:
        joiner = Joiner(one, (*two.addresses(), *three.addresses()))
        nursery.start_soon(joiner.run)
        await joiner.next()
        joiner.neighbours.settle(two.peer_id)
        before = trio.current_time()
        await joiner.neighbours.wait_settled(60)
        assert trio.current_time() - before == pytest.approx(STRAGGLERS_S)


async def test_a_peer_that_says_nothing_is_named(net, autojump_clock):
    _, one, _ = net
    joiner = Joiner(one, (address(9),))
    joined = await joiner.neighbours.wait_settled(5)
    assert joined.failures == (f"no answer from {address(9)}",)


async def test_a_peer_that_cannot_be_reached_is_a_failure_in_words(
    net, nursery, autojump_clock
):
    _, one, _ = net
    joiner = Joiner(one, (address(9),))
    nursery.start_soon(joiner.run)
    joined = await joiner.neighbours.wait_settled(60)
    assert peer_id(9) in joined.failures[0]
    assert trio.current_time() < 60


async def test_a_peer_that_comes_back_is_found_again(net, nursery, autojump_clock):
    network, one, _ = net
    joiner = Joiner(one, (address(3),))
    nursery.start_soon(joiner.run)
    for _ in range(2):
        async with network.open_host(peer_id(3)):
            assert await joiner.next() == NeighbourFound(peer_id=peer_id(3))
            assert (await joiner.neighbours.wait_settled(1)).failures == ()
        assert await joiner.next() == PeerGone(peer_id=peer_id(3))
    assert joiner.gone == [peer_id(3)] * 2


async def test_whoever_dials_us_is_not_asked_unless_neighbours_are_sought(net, nursery):
    _, one, two = net
    quiet, curious = Joiner(one, ()), Joiner(two, ())
    nursery.start_soon(quiet.run)
    nursery.start_soon(curious.run, False, True)
    await trio.testing.wait_all_tasks_blocked()
    await two.connect(one.addresses())
    assert await curious.next() == NeighbourFound(peer_id=one.peer_id)
    with pytest.raises(trio.WouldBlock):
        quiet.inputs.receive_nowait()


async def test_gossiped_adverts_arrive_opened(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run, True)
    await joiner.next()
    await two.publish(ADVERT_TOPIC, advert(2))
    heard = await joiner.next()
    assert isinstance(heard, AdvertsHeard)
    assert [each.issuer for each in heard.adverts] == [key(2).did]


async def test_gossip_that_does_not_verify_is_no_input(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run, True)
    await joiner.next()
    await two.publish(ADVERT_TOPIC, b"garbage")
    await two.publish(ADVERT_TOPIC, advert(2)[:-1] + b"\0")
    await two.publish(ADVERT_TOPIC, advert(2, now_s=NOW_S - 10_000))
    await two.publish(ADVERT_TOPIC, advert(2, sequence=7))
    heard = await joiner.next()
    assert [each.payload.sequence for each in heard.adverts] == [7]


def revocation(number):
    signer, taker = key(number), key(number + 1)
    token = seal_delegation(
        signer=signer,
        audience=taker.did,
        subject=signer.did,
        command="/nunet",
        nonce=bytes(12),
        expires_at_s=NOW_S,
    )
    return seal_revocation(signer=signer, tokens=[token], nonce=bytes(12), now_s=NOW_S)


async def test_gossiped_revocations_arrive_opened_and_false_ones_do_not(net, nursery):
    _, one, two = net
    joiner = Joiner(one, two.addresses())
    nursery.start_soon(joiner.run, True)
    await joiner.next()
    await two.publish(REVOCATIONS_TOPIC, b"garbage")
    await two.publish(REVOCATIONS_TOPIC, revocation(2)[:-1] + b"\1")
    await two.publish(REVOCATIONS_TOPIC, revocation(3))
    heard = await joiner.next()
    assert isinstance(heard, RevocationsHeard)
    assert [each.revoker for each in heard.revocations] == [key(3).did]


async def test_a_name_that_is_no_address_is_refused_at_once(net):
    _, one, _ = net
    with pytest.raises(AddressError, match="nonsense"):
        Joiner(one, ("nonsense",))


async def test_a_node_named_to_itself_has_nobody_to_wait_for(net, nursery):
    _, one, _ = net
    joiner = Joiner(one, one.addresses())
    nursery.start_soon(joiner.run)
    with trio.fail_after(10):
        assert (await joiner.neighbours.wait_settled(60)).failures == ()
