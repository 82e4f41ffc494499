"""Options are parsed by the same functions as a job file."""

import click
import pytest

from nunet_node.cli.options import Parsed, checked
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
