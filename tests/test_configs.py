"""Every example that a newcomer may copy is one that works."""

from pathlib import Path

import pytest

from nunet_node.jobs.job_file import job_spec, read_job_file

ROOT = Path(__file__).parents[1]
JOBS = sorted((ROOT / "configs/jobs").glob("*.yaml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_example_job_is_one_that_can_be_signed(path):
    spec = job_spec(read_job_file(path.read_text()), inputs=None, inputs_bytes=0)
    assert spec.name == path.stem


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_input_of_an_example_job_is_there(path):
    job = read_job_file(path.read_text()).beside(str(path.parent))
    assert job.all_inputs()
    for each in job.all_inputs():
        assert Path(each.path).is_file()
        assert "/" not in each.dest
