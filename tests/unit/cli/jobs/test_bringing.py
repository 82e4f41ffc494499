"""What a job wrote and made is brought where it was wanted, or refused at once."""

from nunet_node.cli.main import run
from nunet_node.jobs.specification import JobId

JOB = JobId("a" * 32)


def test_a_target_that_is_taken_is_refused_before_the_network_is_asked(
    tmp_path, capsys
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("")
    words = ["--home", str(tmp_path / "h"), "get", "--out", str(tmp_path / "out"), JOB]

    assert run(words) == 1
    assert "is not empty" in capsys.readouterr().err
