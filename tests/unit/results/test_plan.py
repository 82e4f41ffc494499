"""What a fetcher asks for, and what it accepts."""

import pytest

from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.results.plan import (
    Shares,
    WantedBlock,
    check_block,
    chunk_sizes,
    missing_blocks,
    wanted_blocks,
)
from nunet_node.wire.cid import Cid

ONE, TWO, THREE = (Cid.of_raw(data) for data in (b"one", b"two", b"three"))


def entry(path, size_bytes, *chunks):
    return FileEntry(path=path, size_bytes=size_bytes, chunks=chunks)


def test_each_block_is_wanted_once_in_the_order_of_the_files():
    tree = build(
        [
            entry("b", 3, ONE),
            entry("a", CHUNK_BYTES + 5, TWO, THREE),
            entry("c", 5, THREE),
            entry("d", 0),
        ]
    ).tree
    assert wanted_blocks(tree) == (
        WantedBlock(cid=TWO, size_bytes=CHUNK_BYTES),
        WantedBlock(cid=THREE, size_bytes=5),
        WantedBlock(cid=ONE, size_bytes=3),
    )


def test_what_is_here_already_is_not_wanted_again():
    tree = build([entry("a", 3, ONE), entry("b", 3, TWO)]).tree
    assert missing_blocks(tree, {ONE}.__contains__) == (
        WantedBlock(cid=TWO, size_bytes=3),
    )
    assert missing_blocks(tree, {ONE, TWO}.__contains__) == ()


@pytest.mark.parametrize(
    "files",
    [
        [entry("a", 3, ONE), entry("b", 4, ONE)],
        [entry("a", CHUNK_BYTES + 1, ONE, ONE)],
    ],
)
def test_one_block_of_two_lengths_is_a_lie(files):
    with pytest.raises(ManifestError, match="two lengths"):
        wanted_blocks(build(files).tree)


def test_a_long_run_of_one_block_is_fetched_once():
    tree = build([entry("zeros", CHUNK_BYTES * 5, *[ONE] * 5)]).tree
    assert len(wanted_blocks(tree)) == 1
    assert [size for _, size in chunk_sizes(tree.files[0])] == [CHUNK_BYTES] * 5


def test_the_wanted_block_is_accepted():
    check_block(WantedBlock(cid=ONE, size_bytes=3), b"one")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"eno", "not those named"),
        (b"on", "2 bytes"),
        (b"ones", "4 bytes"),
        (b"", "0 b"),
    ],
)
def test_any_other_block_is_refused(data, why):
    with pytest.raises(BlockError, match=why):
        check_block(WantedBlock(cid=ONE, size_bytes=3), data)


def wanted(*cids):
    return [WantedBlock(cid=cid, size_bytes=3) for cid in cids]


def shares(*cids, sources=("a", "b")):
    made = Shares(wanted(*cids))
    for source in sources:
        made.join(source)
    return made


def taken(made, source, blocks_max=1):
    return [block.cid for block in made.take(source, blocks_max)]


def test_no_two_sources_are_asked_for_one_block_while_others_wait():
    made = shares(ONE, TWO, THREE)
    assert taken(made, "a", 2) == [ONE, TWO]
    assert taken(made, "b", 2) == [THREE]


def test_a_source_that_has_brought_all_takes_what_another_owes():
    made = shares(ONE, TWO)
    assert taken(made, "a", 2) == [ONE, TWO]
    assert taken(made, "b") == [TWO]
    assert taken(made, "b") == []
    assert made.arrived(TWO)
    assert taken(made, "b") == [ONE]
    assert made.arrived(ONE)
    assert made.done


def test_a_third_source_is_not_asked_for_the_same():
    made = shares(ONE, sources=("a", "b", "c"))
    assert [taken(made, each) for each in "abc"] == [[ONE], [ONE], []]


def test_what_a_lost_source_owes_comes_first():
    made = shares(ONE, TWO, THREE)
    assert taken(made, "a", 2) == [ONE, TWO]
    made.leave("a")
    assert taken(made, "b", 3) == [ONE, TWO, THREE]


def test_what_one_source_has_not_is_asked_of_another():
    made = shares(ONE, TWO)
    assert taken(made, "a") == [ONE]
    made.refused("a", ONE)
    assert taken(made, "a", 2) == [TWO]
    assert taken(made, "b", 2) == [ONE]


def test_a_source_that_has_none_of_the_rest_is_spent():
    made = shares(ONE, TWO)
    assert taken(made, "a", 2) == [ONE, TWO]
    made.refused("a", ONE)
    assert not made.spent("a")
    made.refused("a", TWO)
    assert made.spent("a")
    assert not made.spent("b")


def test_an_urgent_block_comes_before_the_others():
    made = shares(ONE, TWO, THREE)
    made.urge(THREE)
    assert taken(made, "a", 3) == [THREE, ONE, TWO]


def test_a_block_that_comes_twice_was_lacking_once():
    made = shares(ONE)
    assert taken(made, "a") == taken(made, "b") == [ONE]
    assert made.arrived(ONE)
    assert not made.arrived(ONE)
    assert made.done
