"""Refusals have codes that travel, so no two kinds may share one."""

from nunet_node.results import errors
from nunet_node.storage import errors as storage_errors


def leaves(module):
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]


def test_every_refusal_has_a_code_of_its_own():
    codes = [leaf.code for leaf in [*leaves(errors), *leaves(storage_errors)]]
    assert len(codes) == len(set(codes)) == 18


def test_every_code_begins_with_the_room():
    assert all(leaf.code.startswith("results") for leaf in leaves(errors))
    assert all(leaf.code.startswith("storage.") for leaf in leaves(storage_errors))
