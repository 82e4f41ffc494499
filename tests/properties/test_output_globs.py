"""Which files a glob names: the walk by sets against the plain definition."""

import fnmatch

from hypothesis import example, given
from hypothesis import strategies as st

from nunet_node.executors.collect import _matches

SEGMENTS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5)
PARTS = st.sampled_from(["**", "*", "a*", "?", "b", "[ab]", "*a*"])
GLOBS = st.lists(PARTS, min_size=1, max_size=5)


def plainly(glob: list[str], path: list[str]) -> bool:
    """The definition, tried in every way: ``**`` takes any number of segments."""
    if not glob:
        return not path
    if glob[0] == "**":
        return any(plainly(glob[1:], path[taken:]) for taken in range(len(path) + 1))
    return (
        bool(path)
        and fnmatch.fnmatchcase(path[0], glob[0])
        and plainly(glob[1:], path[1:])
    )


@given(GLOBS, SEGMENTS)
@example(["**"], ["a"])
@example(["**", "a"], ["a"])
@example(["a", "**"], ["a"])
@example(["**", "**"], ["a", "b"])
def test_a_glob_names_what_its_definition_says(glob: list[str], path: list[str]):
    assert _matches(tuple(glob), path) == plainly(glob, path)


@given(SEGMENTS)
def test_two_stars_alone_name_everything(path: list[str]):
    assert _matches(("**",), path)


@given(GLOBS, SEGMENTS)
def test_two_stars_in_front_name_no_less(glob: list[str], path: list[str]):
    if _matches(tuple(glob), path):
        assert _matches(("**", *glob), path)
        assert _matches(("**", *glob), ["x", *path])
