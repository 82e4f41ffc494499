"""Every example that a newcomer may copy is one that works."""

from pathlib import Path

import pytest

from nunet_node.jobs.job_file import job_spec, read_job_file
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.config import ClusterConfig, Config, read_config

ROOT = Path(__file__).parents[1]
JOBS = sorted((ROOT / "configs/jobs").glob("*.yaml"))
NODES = sorted((ROOT / "configs").rglob("*.toml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_example_job_is_one_that_can_be_signed(path):
    spec = job_spec(read_job_file(path.read_text()), inputs=None, inputs_bytes=0)
    assert spec.name == path.stem


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_input_of_an_example_job_is_there(path):
    job = read_job_file(path.read_text()).beside(str(path.parent))
    assert job.all_inputs()
    for each in job.all_inputs():
        assert Path(each.path).exists()
        assert "/" not in each.dest


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.stem)
def test_every_example_node_is_one_that_starts(path):
    config = read_config(path)
    offer = config.offer(ResourceVector())
    assert offer.cpu_millis > 0
    assert offer.memory_bytes > 0
    assert offer.disk_bytes > 0
    assert config.listen


def test_the_full_example_shows_every_key():
    text = (ROOT / "configs/node.toml").read_text()
    for key in Config.__struct_fields__:
        assert f"\n{key} = " in text, key


def test_the_examples_of_clusters_show_every_key():
    texts = [path.read_text() for path in (ROOT / "configs/clusters").glob("*.toml")]
    for key in ClusterConfig.__struct_fields__:
        assert any(f"\n{key} = " in text for text in texts), key
