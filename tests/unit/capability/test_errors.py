"""Refusals have codes that travel, so no two kinds may share one."""

from nunet_node.capability import errors


def _leaves():
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, errors.CapabilityError)
        and value is not errors.CapabilityError
    ]


def test_every_refusal_has_a_code_of_its_own():
    codes = [leaf.code for leaf in _leaves()]
    assert len(codes) == len(set(codes)) > 1


def test_every_code_begins_with_the_room():
    assert all(leaf.code.startswith("capability.") for leaf in _leaves())


def test_the_names_of_the_specifications_fixtures_are_all_there():
    assert {leaf.ucan_name for leaf in _leaves()} >= {
        "InvalidClaim",
        "UnavailableProof",
        "Expired",
        "TooEarly",
        "InvalidAudience",
        "InvalidSubject",
        "InvalidSignature",
        "MatchError",
    }
