"""A word that is the id of a result means that result."""

import click
import pytest

from nunet_node.cli.jobs.public import own_job, root_of
from nunet_node.cli.main import run
from nunet_node.cli.output import Settings
from nunet_node.wire.cid import Cid

ROOT = Cid.of_dag_cbor(b"result")


def test_only_the_id_of_a_tree_is_one_of_a_result():
    assert root_of(str(ROOT)) == ROOT
    for word in ("co2", "a" * 32, str(Cid.of_raw(b"chunk")), f"{ROOT}x"):
        assert root_of(word) is None


def test_a_name_for_ipfs_tools_is_refused_with_what_to_write_instead():
    with pytest.raises(click.UsageError, match="nunet-node status"):
        root_of("bafybeifxmndmzsmfr2rt26zu64n4uqmlgvtuh6l7xulxfehgucc47sk64m")


def test_a_home_without_such_a_job_has_none(tmp_path):
    assert own_job(Settings(home=tmp_path / "h"), ROOT) is None


def test_a_public_result_cannot_be_had_without_a_network(tmp_path, capsys):
    words = ["--home", str(tmp_path / "h"), "get", str(ROOT)]

    assert run([*words, "--out", str(tmp_path / "out")]) == 1
    assert "--bootstrap" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
