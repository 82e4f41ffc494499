"""An address is lent only after a guest reached what it may, and nothing else."""

import pytest

from nunet_node.executors.port import RunEnd
from nunet_node.executors.probing.reaching import judged, why_not_reaching
from tests.executors_kit import need, some_executors


async def test_this_machine_lets_processes_reach_domains():
    await need("process")
    async with some_executors() as executors:
        assert await why_not_reaching(executors) == ""


async def test_it_is_tried_only_where_something_is_lent_or_somebody_asks():
    await need("process")
    async with some_executors() as executors:
        assert not (await executors._probe_one("process", thorough=False)).http
        executors._lent = ("pypi.example",)
        assert (await executors._probe_one("process", thorough=False)).http
        assert not (await executors._probe_one("wasm", thorough=False)).http


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("reached\ndone\n", ""),
        ("", "the guest did not finish"),
        ("done\n", "the guest did not finish"),
        ("reached\n", "the guest did not finish"),
        ("reached\nbroken: it reached another domain\ndone\n", "another domain"),
        ("broken: it did not reach what it may\ndone\n", "did not reach"),
    ],
)
def test_only_a_guest_that_finished_has_shown_anything(said, why):
    assert why in judged(said)
    assert bool(judged(said)) == bool(why)


class _Broken:
    """Executors whose sandboxes do not start."""

    def __init__(self, executors):
        self._executors = executors
        self.open_job, self.remove = executors.open_job, executors.remove

    async def run_reaching(self, _order, _job_dir, *, lent, outside):
        assert lent
        assert outside
        return RunEnd(exit_code=None, reason="no namespaces here")


async def test_a_sandbox_that_does_not_start_lends_nothing():
    async with some_executors() as executors:
        assert await why_not_reaching(_Broken(executors)) == "the guest did not finish"
