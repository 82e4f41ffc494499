"""Refusals have codes that travel, so no two kinds may share one."""

from nunet_node.wire import errors


def _leaves():
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, errors.WireError)
        and value is not errors.WireError
    ]


def test_every_refusal_has_a_code_of_its_own():
    codes = [leaf.code for leaf in _leaves()]
    assert len(codes) == len(set(codes)) > 1


def test_every_code_begins_with_the_room():
    assert all(leaf.code.startswith("wire.") for leaf in _leaves())
