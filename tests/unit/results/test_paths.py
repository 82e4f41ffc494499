"""Which names a tree may hold."""

import pytest

from nunet_node.results.errors import ManifestError, PathError
from nunet_node.results.paths import (
    NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    PATH_PARTS_MAX,
    check_order,
    check_path,
)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b",
        ".hidden",
        "...",
        "..a",
        "with space",
        "~",
        "-rf",
        "naïve/日本語/🙂",
        "a" * NAME_BYTES_MAX,
        "/".join("d" * PATH_PARTS_MAX),
    ],
)
def test_plain_relative_paths_are_taken(path):
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a/..",
        "nul\0",
        "line\nfeed",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "back\\slash",
        "..\\..\\windows",
        "exe\u202egpj.txt",
        "\ud800",
        "a" * (NAME_BYTES_MAX + 1),
        "é" * 128,
        "/".join("d" * (PATH_PARTS_MAX + 1)),
        "/".join(["d" * 200] * 6),
        "x" * 4096,
    ],
)
def test_any_other_path_is_refused_in_printable_words(path):
    with pytest.raises(PathError) as refusal:
        check_path(path)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < PATH_BYTES_MAX * 8


@pytest.mark.parametrize(
    "paths",
    [[], ["a"], ["a", "a.txt", "a0", "ab"], ["a/b", "a/c", "a0"], ["a/b/c", "a/b/d"]],
)
def test_rising_paths_are_taken(paths):
    check_order(paths)


@pytest.mark.parametrize("paths", [["a", "a"], ["b", "a"], ["a0", "a/b"], ["é", "z"]])
def test_repeated_or_unsorted_paths_are_refused(paths):
    with pytest.raises(ManifestError, match="twice, or out of order"):
        check_order(paths)


@pytest.mark.parametrize(
    "paths",
    [["a", "a/b"], ["a", "a.txt", "a/b"], ["a/b", "a/b/c/d"], ["x/y", "x/y!", "x/y/z"]],
)
def test_a_file_that_is_also_a_directory_is_refused(paths):
    with pytest.raises(ManifestError, match="both a file and a directory"):
        check_order(paths)
