"""A ticket is for one peer, once, and not for long."""

import itertools

import pytest

from nunet_node.network.bulk.tickets import (
    TICKET_S,
    TICKETS_MAX,
    TICKETS_PER_PEER_MAX,
    Tickets,
)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tickets(clock):
    numbers = itertools.count(1)
    return Tickets(clock, lambda size: next(numbers).to_bytes(size, "big"))


def test_a_ticket_names_its_peer_once(tickets):
    ticket = tickets.issue("peer")
    assert tickets.redeem(ticket.name) == ticket
    assert ticket.peer_id == "peer"
    assert tickets.redeem(ticket.name) is None


def test_no_two_tickets_share_a_key(tickets):
    one, other = tickets.issue("peer"), tickets.issue("peer")
    assert one.key != other.key
    assert one.name != other.name


def test_a_ticket_nobody_issued_is_good_for_nothing(tickets):
    tickets.issue("peer")
    assert tickets.redeem(bytes(16)) is None


def test_a_ticket_ends_with_its_time(tickets, clock):
    ticket = tickets.issue("peer")
    assert tickets.any_out
    clock.now_s += TICKET_S
    assert not tickets.any_out
    assert tickets.redeem(ticket.name) is None


def test_the_tickets_of_a_peer_that_is_gone_are_void(tickets):
    gone, other = tickets.issue("gone"), tickets.issue("other")
    tickets.void("gone")
    assert tickets.redeem(gone.name) is None
    assert tickets.redeem(other.name) == other


def test_one_peer_holds_only_so_many_tickets(tickets):
    for _ in range(TICKETS_PER_PEER_MAX):
        assert tickets.issue("peer")
    assert tickets.issue("peer") is None
    assert tickets.issue("other")


def test_all_peers_hold_only_so_many_tickets(tickets):
    for number in range(TICKETS_MAX):
        assert tickets.issue(f"peer-{number}")
    assert tickets.issue("one more") is None


def test_a_ticket_that_is_printed_keeps_its_key(tickets):
    assert "key" not in repr(tickets.issue("peer"))
