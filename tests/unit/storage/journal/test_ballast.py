"""Room that is kept for a full disk."""

from nunet_node.storage.journal.ballast import Ballast


def test_ballast_takes_real_room_and_gives_it_back(tmp_path):
    ballast = Ballast(tmp_path / "ballast", size_bytes=1 << 20)
    assert ballast.hold()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20
    assert ballast.hold()
    assert ballast.let_go()
    assert not ballast.let_go()
    assert list(tmp_path.iterdir()) == []


def test_ballast_that_was_cut_short_is_held_again(tmp_path):
    (tmp_path / "ballast").write_bytes(b"short")
    assert Ballast(tmp_path / "ballast", size_bytes=1 << 20).hold()
    assert (tmp_path / "ballast").stat().st_size == 1 << 20


def test_ballast_that_does_not_fit_leaves_nothing(tmp_path):
    assert not Ballast(tmp_path / "ballast", size_bytes=1 << 62).hold()
    assert not Ballast(tmp_path / "missing" / "ballast", size_bytes=1).hold()
    assert list(tmp_path.iterdir()) == []
