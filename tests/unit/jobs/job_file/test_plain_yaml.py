"""YAML is read without its cleverness."""

import pytest

from nunet_node.jobs.job_file.plain_yaml import (
    YAML_BYTES_MAX,
    JobFileError,
    nearest,
    read_yaml,
)


def test_a_scalar_is_the_text_that_was_written():
    pairs = read_yaml("on: NO\ntime: 1:30\nnumber: 012\n").pairs()

    assert {name: value.text() for name, value in pairs.items()} == {
        "on": "NO",
        "time": "1:30",
        "number": "012",
    }


def test_an_error_names_the_line_and_the_path():
    value = read_yaml("a:\n  - x\n  - b: [1]\n").pairs()["a"].items()[1].pairs()["b"]

    with pytest.raises(
        JobFileError, match=r"^line 3: a\[1\].b: expected text, not a list"
    ):
        value.text()


def test_an_unknown_name_is_refused_with_the_nearest_right_one():
    with pytest.raises(JobFileError, match=r"line 2: nmae: .* did you mean 'name'"):
        read_yaml("version: 1\nnmae: x").known_pairs(["version", "name"])


def test_a_name_like_no_other_is_refused_with_all_of_them():
    assert nearest("zzz", ["b", "a"]) == "; there are a, b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a: [", "not YAML"),
        ("a: &x 1\nb: *x", "anchors"),
        ("a: !!python/object:os.system 1", "tags"),
        ("[" * 20, "nested deeper"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \x00", "not YAML"),
        ("a: " + "x" * YAML_BYTES_MAX, "larger than"),
    ],
)
def test_anything_but_one_plain_small_document_is_refused(text, reason):
    with pytest.raises(JobFileError, match=reason):
        read_yaml(text)


def test_a_name_given_twice_is_refused():
    with pytest.raises(JobFileError, match="line 2: a: given twice"):
        read_yaml("a: 1\na: 2").pairs()


def test_a_line_without_a_value_is_refused():
    with pytest.raises(JobFileError, match="no value"):
        read_yaml("a:").pairs()["a"].text()


def test_a_list_is_no_map_and_a_map_no_list():
    value = read_yaml("a: [1]\nb: {c: 1}").pairs()

    with pytest.raises(JobFileError, match="expected names"):
        value["a"].pairs()
    with pytest.raises(JobFileError, match="expected a list"):
        value["b"].items()


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udfffb"', '["\\udc00"]'])
def test_half_of_a_letter_is_no_text(text):
    value = read_yaml(f"a: {text}").pairs()["a"]
    value = value if text.startswith('"') else value.items()[0]
    with pytest.raises(JobFileError, match=r"line 1: a.*surrogate"):
        value.text()
