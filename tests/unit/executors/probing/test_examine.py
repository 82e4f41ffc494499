"""An engine is offered only after every attack on it has failed."""

from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import Finding, RunEnd, RunOrder
from nunet_node.executors.probing.examine import examine, judged, unready
from tests.executors_kit import need, some_executors


async def test_what_is_offered_here_held_every_attack():
    found = await need("process")
    assert {each.barrier for each in found.findings if each.held} >= {
        "network",
        "host files",
        "host processes",
        "privileges",
        "memory",
        "disk",
        "processes",
    }


async def test_a_module_is_attacked_by_its_own_kind():
    found = await need("wasm")
    assert {"network", "host files", "memory", "disk"} == {
        each.barrier for each in found.findings
    }


def test_one_barrier_broken_and_nothing_is_offered():
    held = Finding(barrier="network", held=True)
    broken = Finding(barrier="memory", held=False, detail="it got 256 MiB")
    found = judged("process", "bwrap", (held, broken))
    assert not found.ready
    assert found.isolation == "none"
    assert "memory (it got 256 MiB)" in found.detail
    assert found.remedy is not None
    assert "control groups" in found.remedy
    assert judged("process", "bwrap", (held,)).ready


def test_an_engine_that_does_not_work_names_a_remedy():
    assert unready("process", "bubblewrap is not installed").remedy


class _Open:
    """Runs nothing and claims success: a sandbox that shows no barrier at all."""

    def __init__(self, inner: LocalExecutors, said: bytes) -> None:
        self._inner = inner
        self._said = said
        self.opened = 0

    async def open_job(self, job_id: str, attempt: int) -> JobDir:
        self.opened += 1
        return await self._inner.open_job(job_id, attempt)

    async def run(self, order: RunOrder, job_dir: JobDir) -> RunEnd:
        del order
        job_dir.stdout_path.write_bytes(self._said)
        return RunEnd(exit_code=0, isolation="bwrap")

    async def remove(self, job_dir: JobDir) -> None:
        self.opened -= 1
        await self._inner.remove(job_dir)


async def test_a_sandbox_that_stops_nothing_is_not_offered():
    async with some_executors() as executors:
        runner = _Open(executors, b"broken network: it reached a port of the host\n")
        found = await examine(runner, "process", thorough=False)
    assert not found.ready
    assert "network (it reached a port of the host)" in found.detail
    assert runner.opened == 0


async def test_a_guest_that_never_spoke_leaves_the_engine_unoffered():
    async with some_executors() as executors:
        found = await examine(_Open(executors, b""), "process", thorough=False)
    assert not found.ready
    assert found.findings == ()


async def test_what_held_is_not_tried_twice():
    async with some_executors() as executors:
        first = await executors.probe()
        again = await executors.probe()
    ready = [each for each in first if each.ready]
    assert all(any(each is other for other in again) for each in ready)
