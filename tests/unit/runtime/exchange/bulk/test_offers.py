"""What is handed over can be asked for by its taker, and for so long alone."""

import socket

import pytest

from nunet_node.network.bulk.channel import Channel
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    channel = Channel(ours, bytes(32), door=False)
    yield channel, theirs
    channel.close()
    theirs.close()


def is_cut(theirs):
    try:
        return theirs.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def test_only_the_taker_gets_only_the_offered_blocks(store):
    offered, other = store.put(b"offered"), store.put(b"other")
    absent = Cid.of_raw(b"absent")
    offers = Offers()
    with offers.opened("anna", store, {offered, absent}):
        assert offers.load("anna", offered) == b"offered"
        assert offers.load("anna", other) is None
        assert offers.load("anna", absent) is None
        assert offers.load("berta", offered) is None
        assert offers.any_to("anna")
        assert not offers.any_to("berta")
    assert offers.load("anna", offered) is None
    assert not offers.any_to("anna")


def test_each_of_two_offers_to_one_peer_lasts_as_long_as_its_own(store):
    first, second = store.put(b"first"), store.put(b"second")
    offers = Offers()
    with offers.opened("anna", store, {first}):
        with offers.opened("anna", store, {second}):
            assert offers.load("anna", first) == b"first"
            assert offers.load("anna", second) == b"second"
        assert offers.load("anna", first) == b"first"
        assert offers.load("anna", second) is None


def test_a_connection_is_cut_when_the_last_offer_ends(store, ends):
    channel, theirs = ends
    offers = Offers()
    with offers.opened("anna", store, ()), offers.opened("anna", store, ()):
        with offers.opened("anna", store, ()), offers.cutting("anna", channel):
            pass
        assert not is_cut(theirs)
    # It was given back before, and is nobody's to cut any more.
    assert not is_cut(theirs)
    with offers.opened("anna", store, ()):
        cutting = offers.cutting("anna", channel)
        cutting.__enter__()
    assert is_cut(theirs)
    cutting.__exit__(None, None, None)


def test_a_connection_that_comes_too_late_is_cut_at_once(ends):
    channel, theirs = ends
    with Offers().cutting("anna", channel):
        assert is_cut(theirs)
