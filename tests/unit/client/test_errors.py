"""A refusal keeps its meaning on the way to a person."""

import pytest

from nunet_node.client.errors import (
    CommandRefusedError,
    ResultMissingError,
    UnknownJobError,
    refused,
)
from nunet_node.market.offers import Refusal


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("job.unknown", UnknownJobError),
        ("job.nowhere", UnknownJobError),
        ("result.none", ResultMissingError),
        ("challenge.expired", CommandRefusedError),
    ],
)
def test_each_refusal_has_its_error(code, kind):
    error = refused("j", Refusal(code=code, reason="why"))

    assert type(error) is kind


def test_absent_and_forbidden_read_the_same():
    said = [
        str(UnknownJobError("j")),
        str(refused("j", Refusal(code="job.unknown", reason="r"))),
    ]

    assert said[0] == said[1] == "j: no such job, or not yours"
