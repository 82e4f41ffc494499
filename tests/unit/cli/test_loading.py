"""Loading a command's module spares it from the search for garbage, and only that."""

import gc
import sys

import pytest

from nunet_node.cli.loading import load

SOURCE = "import gc\nCOLLECTED = gc.isenabled()\n"


@pytest.fixture
def name(tmp_path, monkeypatch):
    """Name a module that nobody has loaded."""
    (tmp_path / "loaded_by_a_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "loaded_by_a_test"
    sys.modules.pop("loaded_by_a_test", None)
    gc.unfreeze()


def test_nothing_is_collected_while_a_command_is_loaded(name):
    assert not load(name, joins=False).COLLECTED
    assert gc.isenabled()


def test_what_was_loaded_is_spared(name):
    gc.unfreeze()
    load(name, joins=False)
    assert gc.get_freeze_count() > 0


def test_what_is_loaded_already_is_left_alone(name):
    first = load(name, joins=False)
    gc.unfreeze()
    assert load(name, joins=True) is first
    assert gc.get_freeze_count() == 0


def test_a_module_that_cannot_be_loaded_leaves_the_collecting_on(tmp_path, name):
    (tmp_path / "loaded_by_a_test.py").write_text("raise LookupError")
    with pytest.raises(LookupError):
        load(name, joins=False)
    assert gc.isenabled()
