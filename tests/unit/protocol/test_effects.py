"""Effects are orders: frozen, documented, and each carried out by somebody."""

from typing import get_args

import msgspec
import pytest

from nunet_node.protocol.effects import Effect, News


@pytest.mark.parametrize("kind", [*get_args(Effect), *get_args(News)])
def test_an_effect_is_frozen_and_says_what_it_orders(kind):
    if issubclass(kind, msgspec.Struct):
        told = kind.__struct_config__
    else:
        told = kind.__dataclass_params__
    assert told.frozen
    assert told.eq
    assert kind.__doc__


def test_orders_and_news_are_told_apart_by_type_alone():
    names = [kind.__name__ for kind in (*get_args(Effect), *get_args(News))]
    assert len(names) == len(set(names))
