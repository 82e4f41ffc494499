"""A grant names its peer and its root, and ends with the peer's connection."""

from nunet_node.runtime.exchange import grants as grants_module
from nunet_node.runtime.exchange.grants import Expected, Grants
from nunet_node.wire.cid import Cid

ROOT, OTHER_ROOT = Cid.of_dag_cbor(b"root"), Cid.of_dag_cbor(b"other")
LEAF, OTHER_LEAF = Cid.of_raw(b"leaf"), Cid.of_raw(b"other leaf")
TREES = {ROOT: frozenset({ROOT, LEAF}), OTHER_ROOT: frozenset({OTHER_ROOT, OTHER_LEAF})}


def made():
    return Grants(lambda root: TREES.get(root, frozenset()))


def test_nothing_is_readable_without_a_grant():
    assert not made().may_read("p", LEAF)


def test_a_grant_covers_its_own_tree_and_no_other():
    grants = made()
    grants.allow_read("p", ROOT)
    readable = [
        c for c in (ROOT, LEAF, OTHER_ROOT, OTHER_LEAF) if grants.may_read("p", c)
    ]
    assert readable == [ROOT, LEAF]
    assert not grants.may_read("q", LEAF)


def test_a_grant_ends_with_the_connection():
    grants = made()
    grants.allow_read("p", ROOT)
    grants.allow_logs("p", "j", 1)
    grants.expect("p", "j", 1, Expected(root=ROOT, bytes_max=1))
    grants.forget("p")
    grants.forget("p")
    assert not grants.may_read("p", LEAF)
    assert not grants.may_follow("p", "j", 1)
    assert grants.expected("p", "j", 1) is None


def test_logs_are_granted_for_one_attempt():
    grants = made()
    grants.allow_logs("p", "j", 2)
    assert grants.may_follow("p", "j", 2)
    assert not grants.may_follow("p", "j", 1)
    assert not grants.may_follow("p", "k", 2)
    assert not grants.may_follow("q", "j", 2)


def test_inputs_are_expected_from_one_peer():
    grants = made()
    expected = Expected(root=ROOT, bytes_max=7)
    grants.expect("p", "j", 1, expected)
    assert grants.expected("p", "j", 1) == expected
    assert grants.expected("q", "j", 1) is None
    assert grants.expected("p", "j", 2) is None


def test_a_tree_that_is_not_here_yet_is_looked_for_again():
    here = {}
    grants = Grants(lambda root: here.get(root, frozenset()))
    grants.allow_read("p", ROOT)
    assert not grants.may_read("p", LEAF)
    here.update(TREES)
    assert grants.may_read("p", LEAF)


def test_the_oldest_grant_of_a_peer_makes_room(monkeypatch):
    monkeypatch.setattr(grants_module, "GRANTS_PER_PEER_MAX", 1)
    grants = made()
    grants.allow_read("p", ROOT)
    grants.allow_read("q", ROOT)
    grants.allow_read("p", OTHER_ROOT)
    assert not grants.may_read("p", LEAF)
    assert grants.may_read("p", OTHER_LEAF)
    assert grants.may_read("q", LEAF)


def test_what_is_public_needs_no_grant_and_gives_none():
    grants = Grants(lambda root: TREES.get(root, frozenset()), public={LEAF})
    grants.allow_read("q", OTHER_ROOT)
    assert grants.may_read("p", LEAF)
    assert grants.may_read("q", LEAF)
    assert not grants.may_read("p", OTHER_LEAF)
    assert not grants.reads_any("p")
