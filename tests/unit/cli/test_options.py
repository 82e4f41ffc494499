"""Options are parsed by the same functions as a job file."""

import click
import pytest

from nunet_node.cli.options import NAME, PATH, WORD, Parsed, Whole, checked
from nunet_node.quantities import parse_size_bytes


def test_a_value_becomes_a_quantity_once():
    size = Parsed(parse_size_bytes, "SIZE")

    assert size.convert("1KiB", None, None) == 1024
    assert size.convert(1024, None, None) == 1024


def test_a_wrong_value_is_a_mistake_in_writing():
    with pytest.raises(click.UsageError, match="is not a size"):
        Parsed(parse_size_bytes, "SIZE").convert("much", None, None)


def test_a_checked_text_stays_as_it_was_written():
    assert checked(parse_size_bytes)("1KiB") == "1KiB"


@pytest.mark.parametrize("kind", [PATH, WORD])
def test_an_empty_word_names_no_file(kind):
    with pytest.raises(click.UsageError, match="is empty; name a file"):
        kind.convert("", None, None)
    assert str(kind.convert("a", None, None)) == "a"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-", "x" * 65, "\udcff"])
def test_what_could_not_name_a_file_names_no_identity(name):
    with pytest.raises(click.UsageError, match="is not a name: 64 letters"):
        NAME.convert(name, None, None)


@pytest.mark.parametrize("text", ["", "x", "1.5"])
def test_what_is_no_whole_number_is_told_so(text):
    with pytest.raises(click.UsageError, match="is not a valid whole number"):
        Whole(0, 8).convert(text, None, None)
