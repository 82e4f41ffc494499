"""Every example job runs to a good end, and leaves what it says it keeps."""

from pathlib import Path

import pytest

from nunet_node.executors.port import RunOrder
from nunet_node.jobs.job_file import job_spec, read_job_file
from tests.executors_kit import an_order, attempt
from tests.proxy_kit import PUBLIC, a_world

JOBS = sorted((Path(__file__).parents[3] / "configs/jobs").glob("*.yaml"))


def read(path: Path) -> tuple[RunOrder, dict[str, bytes], tuple[str, ...]]:
    """Return what an example asks for, the files it brings, and what it keeps."""
    file = read_job_file(path.read_text()).beside(str(path.parent))
    spec = job_spec(file, inputs=None, inputs_bytes=0)
    part = {"NUNET_PARTITION_INDEX": "0", "NUNET_PARTITION_COUNT": str(file.count)}
    order = an_order(
        spec.engine.value,
        *spec.command,
        env=tuple({**spec.env, **(part if file.count else {})}.items()),
        memory_bytes=spec.resources.memory_bytes,
        disk_bytes=spec.resources.disk_bytes,
        wall_s=spec.timeouts.run_s,
        domains=spec.network.http,
        secrets=tuple((name, b"a value") for name in spec.secrets),
    )
    inputs = {}
    for each in file.all_inputs():
        top = Path(each.path)
        for found in [top] if top.is_file() else sorted(top.rglob("*.py")):
            dest = Path(each.dest, found.relative_to(top))
            inputs[dest.as_posix()] = found.read_bytes()
    return order, inputs, spec.outputs


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
async def test_an_example_job_runs_and_leaves_its_outputs(path: Path):
    order, inputs, outputs = read(path)
    async with a_world(names=dict.fromkeys(order.domains, (PUBLIC,))) as world:
        ran = await attempt(order, inputs, outputs, outside=world)
    assert ran.end.exit_code == 0, ran.stderr
    assert ran.paths
