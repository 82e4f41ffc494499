"""Settings that every test shares.

Hypothesis judges laws, not speed: the machine may be busy, so no example has a
deadline. Under ``CI`` its examples are derived from the test alone, so that one
tree passes or fails the same way twice.
"""

import logging
import os

import pytest
from hypothesis import HealthCheck, settings

from nunet_node.storage.blocks import BlockStore

settings.register_profile(
    "here",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite-transcripts",
        action="store_true",
        help="write the conversations in tests/transcripts down as they go now",
    )


@pytest.fixture(autouse=True)
def _logging_is_left_as_it_was():
    """Undo what a command that runs in this process does to everybody's logging."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    yield
    root.setLevel(level)
    logging.disable(disabled)
    for handler in [each for each in root.handlers if each.name == "nunet-node"]:
        if handler not in handlers:
            root.removeHandler(handler)


@pytest.fixture
def stores(tmp_path):
    """Two block stores: theirs and ours."""
    with (
        BlockStore(tmp_path / "theirs") as theirs,
        BlockStore(tmp_path / "ours") as ours,
    ):
        yield theirs, ours
