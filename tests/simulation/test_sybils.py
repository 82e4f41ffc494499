"""One person with many names gets more than a fair share, and starves nobody."""

from pathlib import Path

import msgspec
import pytest

from nunet_node.jobs.scheduler import QUEUE_PER_OWNER_MAX
from nunet_node.protocol.facts import JobAccepted
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.plan import Placed, make_plan
from nunet_node.simulator.run import Run, alone_plan
from nunet_node.simulator.scenario import load_scenario
from nunet_node.simulator.watch.limits import Limits
from nunet_node.simulator.watch.promises import BrokenPromiseError

SCENARIO = load_scenario(Path(__file__).parents[2] / "simulations/sybils.toml")
SMALL = msgspec.structs.replace(
    SCENARIO,
    run_s=30,
    compare=False,
    fleet=msgspec.structs.replace(SCENARIO.fleet, providers=1, submitters=2),
    work=msgspec.structs.replace(SCENARIO.work, jobs=8, run_ms=4_000),
    faults=msgspec.structs.replace(SCENARIO.faults, sybil_jobs_per_minute=90),
)


class Accepted:
    """Keeps a turn in which a job was accepted."""

    idle_too = False

    def __init__(self):
        self.machine = self.given = self.fact = None

    def turned(self, now_ns, machine, given, batch):
        for fact in batch.facts:
            if isinstance(fact, JobAccepted):
                self.machine, self.given, self.fact = machine, given, fact

    def booted(self, now_ns, machine):
        pass


@pytest.fixture(name="played", scope="module")
def _played():
    seen = Accepted()
    return Run(make_plan(SMALL, 1), extra=(seen,)).play(), seen


def test_everybody_elses_jobs_are_the_same_with_and_without_sybils():
    plan = make_plan(SMALL, 1)
    alone = alone_plan(plan)
    others = [
        each
        for each in plan.happenings
        if isinstance(each, Placed) and each.submitter < SMALL.fleet.submitters
    ]
    assert len(alone.happenings) == len(others) == 8
    assert list(alone.happenings) == others
    assert len(plan.happenings) > 30


def test_whoever_has_one_name_waits_longer_and_every_job_is_served(played):
    outcome, _ = played
    assert outcome.broken is None
    measures = outcome.measures
    assert measures["sybil_names"] == 64
    assert measures["sybil_starts_permille"] > 700
    alone = Run(alone_plan(make_plan(SMALL, 1))).play()
    assert alone.broken is None
    assert measures["waits_of_others_us"]["p50"] > 0
    assert alone.measures["started_us"]["max"] < measures["waits_of_others_us"]["max"]
    jobs = sum(measures["states"].values())
    assert jobs == measures["jobs"] == measures["sybil_jobs"] + 8


def test_a_provider_that_takes_more_of_one_owner_than_it_may_is_found(played):
    _, seen = played
    limits = Limits()
    facts = [
        msgspec.structs.replace(seen.fact, job=f"job-{number}")
        for number in range(QUEUE_PER_OWNER_MAX + 1)
    ]
    for fact in facts[:-1]:
        limits.turned(0, seen.machine, seen.given, Batch(facts=(fact,), effects=()))
    assert limits.longest == QUEUE_PER_OWNER_MAX
    with pytest.raises(BrokenPromiseError, match="of one owner waiting"):
        limits.turned(
            0, seen.machine, seen.given, Batch(facts=(facts[-1],), effects=())
        )
