"""Copies lie apart where they can, in an order that anybody can compute."""

from types import SimpleNamespace

import pytest

from nunet_node.jobs.specification import JobId
from nunet_node.protocol.replicas.choosing import apart, nearest, places_of

JOB = JobId("a" * 32)


def node(name, *hosts):
    addresses = tuple(f"/ip4/{host}/tcp/4040/p2p/{name}" for host in hosts)
    return SimpleNamespace(issuer=name, payload=SimpleNamespace(addresses=addresses))


def names(found):
    return [heard.issuer for heard in found]


def test_the_nearest_do_not_depend_on_the_order_of_hearing():
    nodes = [node(name) for name in "abcdefgh"]
    assert names(nearest(JOB, nodes, 3)) == names(nearest(JOB, nodes[::-1], 3))


def test_one_at_a_place_of_its_own_comes_before_one_beside_another():
    near = [node("a", "1.1.1.1"), node("b", "1.1.1.1"), node("c", "1.0.0.1")]
    assert names(apart(near, 2, [])) == ["a", "c"]


def test_where_there_is_something_already_comes_last():
    near = [node("a", "1.1.1.1"), node("b", "1.0.0.1")]
    assert names(apart(near, 1, [("/ip4/1.1.1.1/tcp/1",)])) == ["b"]


def test_if_there_is_no_other_place_copies_lie_side_by_side():
    near = [node(name, "1.1.1.1") for name in "abc"]
    assert names(apart(near, 2, [("/ip4/1.1.1.1/tcp/1",)])) == ["a", "b"]


def test_nobody_is_left_out_and_nobody_added():
    near = [node("a", "1.1.1.1"), node("b", "1.1.1.1"), node("c")]
    assert sorted(names(apart(near, 9, []))) == ["a", "b", "c"]
    assert apart([], 2, []) == []


@pytest.mark.parametrize(
    ("hosts", "place"),
    [
        (("127.0.0.1", "192.168.1.5", "1.1.1.1"), "1.1.1.1"),
        (("127.0.0.1", "192.168.1.5"), "192.168.1.5"),
        (("127.0.0.1",), "127.0.0.1"),
    ],
)
def test_a_machine_is_told_by_its_least_common_address(hosts, place):
    assert places_of(node("a", *hosts).payload.addresses) == {f"/ip4/{place}"}


def test_names_and_addresses_of_other_kinds_are_places_too():
    assert places_of(["/dns4/one.example/tcp/1", "/ip4/127.0.0.1/tcp/1"]) == {
        "/dns4/one.example"
    }
    assert places_of(["/ip6/2606:4700:4700::1111/tcp/1"]) == {
        "/ip6/2606:4700:4700::1111"
    }
    assert places_of(["nonsense", ""]) == {"nonsense", ""}
    assert places_of([]) == frozenset()
