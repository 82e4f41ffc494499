"""A block is public because a public result names it, and for no other reason."""

import pytest

from nunet_node.runtime.exchange.public import trees as trees_module
from nunet_node.runtime.exchange.public.trees import PublicTrees
from nunet_node.wire.cid import Cid

ONE, TWO, LATER = (Cid.of_dag_cbor(name) for name in (b"one", b"two", b"later"))
LEAF, OTHER_LEAF = Cid.of_raw(b"leaf"), Cid.of_raw(b"other leaf")


class Disk:
    """Some trees, and what was looked up of them."""

    def __init__(self):
        self.trees = {ONE: {ONE, LEAF}, TWO: {TWO, OTHER_LEAF}}
        self.looked = []
        self.now_s = 0.0
        self.takes_s = 0.0

    def public(self, roots):
        return PublicTrees(roots, self.under, lambda: self.now_s)

    def under(self, root):
        self.looked.append(root)
        self.now_s += self.takes_s
        return frozenset(self.trees.get(root, ()))


@pytest.fixture
def disk():
    return Disk()


def test_the_blocks_of_public_results_are_public_and_no_others(disk):
    public = disk.public(lambda: [ONE])
    readable = [cid for cid in (ONE, LEAF, TWO, OTHER_LEAF) if cid in public]
    assert readable == [ONE, LEAF]


def test_the_disk_is_not_asked_for_what_is_not_public(disk):
    public = disk.public(lambda: [ONE])
    for cid in (TWO, OTHER_LEAF, LATER, LEAF, TWO):
        _ = cid in public
    assert disk.looked == [ONE]


def test_what_becomes_public_and_what_ceases_to_is_seen_after_a_change(disk):
    roots = [ONE]
    public = disk.public(lambda: roots)
    assert LEAF in public
    roots[:] = [TWO]
    public.changed()
    assert LEAF not in public
    assert OTHER_LEAF in public
    assert disk.looked == [ONE, TWO]


def test_a_tree_that_was_not_whole_is_looked_up_again_after_a_change(disk):
    roots = [LATER]
    public = disk.public(lambda: roots)
    assert LATER not in public
    assert LATER not in public
    assert disk.looked == [LATER]
    disk.trees[LATER] = {LATER}
    public.changed()
    assert LATER in public


def test_what_takes_more_memory_than_there_is_for_it_stays_its_owner_s(
    disk, monkeypatch
):
    monkeypatch.setattr(trees_module, "PUBLIC_BLOCKS_MAX", 3)
    public = disk.public(lambda: [ONE, TWO])
    assert sum(cid in public for cid in (ONE, TWO)) == 1


def test_looking_up_anew_rests_for_longer_than_it_took(disk):
    roots = [ONE]
    public = disk.public(lambda: roots)
    disk.takes_s = 0.5
    assert LEAF in public
    roots[:] = [TWO]
    public.changed()
    disk.now_s += 9.9
    assert OTHER_LEAF not in public
    disk.now_s += 0.2
    assert OTHER_LEAF in public
    assert disk.looked == [ONE, TWO]
