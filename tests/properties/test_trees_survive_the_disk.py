"""Law: what is read from a directory and written to another is the same."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.materialise import materialise
from nunet_node.storage.read_tree import Source, read_tree

names = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs"], exclude_characters="/\\"),
    min_size=1,
    max_size=5,
).filter(lambda name: name not in {".", ".."})
trees = st.recursive(
    st.tuples(st.binary(max_size=50), st.booleans()),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=6,
).filter(lambda tree: isinstance(tree, dict))


def write(tree, directory):
    directory.mkdir()
    for name, inner in tree.items():
        if isinstance(inner, dict):
            write(inner, directory / name)
        else:
            (directory / name).write_bytes(inner[0])
            (directory / name).chmod(0o755 if inner[1] else 0o644)


def read_back(directory):
    return {
        path.name: read_back(path)
        if path.is_dir()
        else (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in directory.iterdir()
    }


@settings(max_examples=30, deadline=None)
@given(trees)
def test_a_tree_comes_back_from_the_store_as_it_went_in(tree):
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write(tree, place / "made")
        with BlockStore(place / "store") as store:
            built = read_tree(store, [Source(path=place / "made")]).built
            materialise(built.tree, store.get, place / "out")
            again = read_tree(store, [Source(path=place / "out")]).built
        assert read_back(place / "out") == tree
        assert again.root == built.root
