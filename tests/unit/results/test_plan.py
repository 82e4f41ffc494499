"""What a fetcher asks for, and what it accepts."""

import pytest

from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.results.plan import (
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
