"""Inputs are facts about the world: frozen, complete, and all of them routed."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from nunet_node.protocol.inputs import Input, SessionClosed


@pytest.mark.parametrize("kind", get_args(Input))
def test_an_input_is_frozen_and_says_what_it_is(kind):
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__


def test_an_input_cannot_be_changed_on_its_way():
    given = SessionClosed(session=1)
    with pytest.raises(FrozenInstanceError):
        given.session = 2


def test_inputs_are_told_apart_by_type_alone():
    names = [kind.__name__ for kind in get_args(Input)]
    assert len(names) == len(set(names))
    assert all(isinstance(fields(kind), tuple) for kind in get_args(Input))
