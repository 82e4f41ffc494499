"""The demonstration leaves nothing behind but what was asked for."""

from nunet_node.cli.demo.command import _free, _homes
from nunet_node.cli.main import run


def test_an_earlier_result_is_never_touched(tmp_path):
    assert _free(tmp_path / "r") == tmp_path / "r"
    (tmp_path / "r").mkdir()
    (tmp_path / "r-2").mkdir()
    assert _free(tmp_path / "r") == tmp_path / "r-3"


def test_homes_vanish_unless_a_place_was_named(tmp_path):
    with _homes(None) as homes:
        (homes / "x").mkdir()
    assert not homes.exists()

    with _homes(tmp_path / "out") as homes:
        (homes / "x").mkdir()
    assert (tmp_path / "out/homes/x").exists()


def test_a_network_needs_a_provider(capsys):
    assert run(["demo", "--providers", "0"]) == 2
    assert "--providers" in capsys.readouterr().err
