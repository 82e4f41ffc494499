"""A path proves itself and what is below it, and nothing beside it."""

import pytest

from nunet_node.capability.command import ROOT, parse_command, proves
from nunet_node.capability.errors import InvalidClaimError


@pytest.mark.parametrize("text", ["/", "/nunet", "/nunet/job/submit", "/a-b/c_d/0"])
def test_a_path_is_a_command(text):
    assert parse_command(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nunet",
        "/nunet/",
        "//",
        "/nunet//job",
        "/Nunet",
        "/nunet/../job",
        "/nunet/j*b",
        "/nunet/job\n",
        " /nunet",
        "/n\u00fcnet",
        "/" + "a" * 128,
    ],
)
def test_another_text_is_no_command(text):
    with pytest.raises(InvalidClaimError):
        parse_command(text)


@pytest.mark.parametrize(
    ("granted", "used", "allowed"),
    [
        (ROOT, "/", True),
        (ROOT, "/nunet/job", True),
        ("/nunet", "/nunet", True),
        ("/nunet", "/nunet/job/submit", True),
        ("/nunet/job", "/nunet/jobs", False),
        ("/nunet/job", "/nunet", False),
        ("/nunet/job", "/", False),
        ("/nunet/job", "/nunet/result/job", False),
    ],
)
def test_a_path_proves_what_is_below_it(granted, used, allowed):
    assert proves(granted, used) is allowed
