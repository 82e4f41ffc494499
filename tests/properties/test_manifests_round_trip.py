"""Law: a manifest and its tree say the same, and no other bytes say it too."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.errors import PeerError
from nunet_node.results.manifest import (
    CHUNK_BYTES,
    FileEntry,
    TreeLimits,
    build,
    chunk_count,
    parse_root,
    parse_tree,
)
from nunet_node.results.plan import chunk_sizes, wanted_blocks
from nunet_node.wire.cid import RAW, Cid
from nunet_node.wire.schema import encode_record

names = st.text(st.sampled_from("ab.é!0"), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
sizes = st.integers(0, 3 * CHUNK_BYTES)
digests = st.binary(min_size=32, max_size=32)


@st.composite
def entries(draw):
    size_bytes = draw(sizes)
    count = chunk_count(size_bytes)
    chunks = draw(st.lists(digests, min_size=count, max_size=count))
    return FileEntry(
        path=draw(paths),
        size_bytes=size_bytes,
        executable=draw(st.booleans()),
        chunks=tuple(Cid(RAW, digest) for digest in chunks),
    )


@st.composite
def trees(draw):
    files = draw(st.lists(entries(), max_size=6, unique_by=lambda file: file.path))
    every = {file.path for file in files}
    return [
        file
        for file in files
        if not any(other.startswith(f"{file.path}/") for other in every)
    ]


@given(trees(), st.randoms(use_true_random=False))
def test_a_tree_is_what_its_manifest_says_in_whatever_order_it_was_named(files, chance):
    built = build(files)
    chance.shuffle(files)
    assert build(files).root == built.root
    tree = parse_tree(parse_root(built.blocks[-1][1], TreeLimits()))
    assert tree == built.tree
    assert set(tree.files) == set(files)


@given(trees())
def test_chunks_add_up_to_their_file(files):
    for file in build(files).tree.files:
        sizes_of_chunks = [size for _, size in chunk_sizes(file)]
        assert sum(sizes_of_chunks) == file.size_bytes
        assert all(0 < size <= CHUNK_BYTES for size in sizes_of_chunks)


@given(trees())
def test_every_chunk_is_wanted_exactly_once(files):
    tree = build(files).tree
    with contextlib.suppress(PeerError):
        wanted = [block.cid for block in wanted_blocks(tree)]
        assert len(wanted) == len(set(wanted))
        assert set(wanted) == {cid for file in files for cid in file.chunks}


@given(trees(), st.data())
def test_a_changed_manifest_is_refused_or_another_tree(files, data):
    built = build(files)
    changed = bytearray(built.blocks[-1][1])
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(PeerError):
        root = parse_root(bytes(changed), TreeLimits())
        if not root.pages:
            assert parse_tree(root) != built.tree


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_worse(data):
    try:
        root = parse_root(data, TreeLimits())
    except PeerError:
        return
    assert encode_record(root) == data
