"""The note beside the journal, and the lock that its file is."""

import pytest

from nunet_node.storage.errors import LedgerUnwritableError
from nunet_node.storage.journal import watermark
from nunet_node.storage.journal.watermark import Watermark, read_mark


@pytest.fixture
def mark(tmp_path):
    opened = Watermark(tmp_path / "mark")
    yield opened
    opened.close()


def test_a_new_note_says_nothing(tmp_path, mark):
    assert read_mark(tmp_path / "mark") == read_mark(tmp_path / "absent") == 0


def test_the_last_note_counts(tmp_path, mark):
    for seq in (1, 300, 2**40):
        mark.write(seq)
        assert read_mark(tmp_path / "mark") == seq


@pytest.mark.parametrize("place", range(16))
def test_a_damaged_note_says_nothing(tmp_path, mark, place):
    mark.write(300)
    note = bytearray((tmp_path / "mark").read_bytes())
    note[place] ^= 1
    (tmp_path / "mark").write_bytes(note)
    assert read_mark(tmp_path / "mark") == 0


def test_turns_are_taken_one_at_a_time(tmp_path, mark, monkeypatch):
    monkeypatch.setattr(watermark, "TURN_WAIT_S", 0)
    other = Watermark(tmp_path / "mark")
    with (
        mark.turn(),
        pytest.raises(LedgerUnwritableError, match="has held"),
        other.turn(),
    ):
        pass
    with other.turn():
        pass
    other.close()
