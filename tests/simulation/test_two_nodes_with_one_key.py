"""A home that was copied runs twice: nobody else is told two things, or left waiting."""

from pathlib import Path

import msgspec
import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import facts as ft
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.plan import NS_PER_S, Copied, Placed, Plan, make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import (
    Fleet,
    Scenario,
    ScenarioError,
    load_scenario,
    parse_scenario,
)
from nunet_node.simulator.sweep import play_point, points
from nunet_node.simulator.watch.promises import BrokenPromiseError, Promises
from nunet_node.simulator.watch.transcript import Transcript

SCENARIO = load_scenario(Path(__file__).parents[2] / "simulations/copied.toml")
COPIED_S = 10
PROVIDER, SUBMITTER = 0, 1


def job(number, at_s, run_ms):
    return Placed(
        at_ns=at_s * NS_PER_S,
        submitter=0,
        user=0,
        number=number,
        cpus=4,
        run_ms=run_ms,
        exit_code=0,
        has_inputs=False,
    )


class Notices:
    """Keeps the turns in which owners kept notices."""

    idle_too = False

    def __init__(self):
        self.kept = []

    def turned(self, now_ns, machine, given, batch):
        for fact in batch.facts:
            if isinstance(fact, ft.NoticeKept):
                self.kept.append((machine, given, fact))

    def booted(self, now_ns, machine):
        pass


def played(machine, *jobs):
    """Copy a machine's home while it has jobs; return the run and its story."""
    copied = Copied(at_ns=COPIED_S * NS_PER_S, machine=machine)
    scenario = Scenario(run_s=60, fleet=Fleet(providers=1, submitters=1))
    happenings = tuple(sorted((*jobs, copied), key=lambda each: each.at_ns))
    story, notices = Transcript(), Notices()
    plan = Plan(scenario=scenario, seed=1, happenings=happenings)
    run = Run(plan, extra=(story, notices))
    outcome = run.play()
    assert outcome.broken is None
    return run, outcome, story.text(), notices


def test_a_copied_provider_runs_its_jobs_again_and_their_owner_hears_of_one_end():
    both = (job(0, 5, 20_000), job(1, 6, 2_000))
    run, outcome, story, _ = played(PROVIDER, *both)
    assert "provider-0-again is up with a copy of the home of provider-0" in story
    assert outcome.measures["copied"] == 1
    # To the copy, what ran is what a dead process left, and the owner allows another
    # attempt; what waited goes on waiting there, too.
    assert outcome.measures["ran_at_both"] == 2
    orders = run.world.machines[SUBMITTER].node.orders.values()
    assert [order.state for order in orders] == [State.COMPLETED] * 2


def test_a_copied_submitting_peer_has_its_jobs_run_once_and_hears_of_them_twice():
    run, outcome, _, _ = played(SUBMITTER, job(0, 5, 20_000))
    assert outcome.measures["starts"] == 1
    twin = run.world.twins[SUBMITTER]
    for machine in (run.world.machines[SUBMITTER], twin):
        (order,) = machine.node.orders.values()
        assert order.state is State.COMPLETED


def test_a_copy_is_ended_with_the_faults_and_what_it_had_is_had_elsewhere_or_lost():
    late = job(0, 55, 60_000)
    run, _, _, _ = played(PROVIDER, late)
    (twin,) = run.world.twins.values()
    assert twin.gone
    (order,) = run.world.machines[SUBMITTER].node.orders.values()
    assert order.ended


@pytest.mark.parametrize("number", range(2))
def test_nobody_is_told_two_things_and_every_job_ends(number):
    point = points(SCENARIO)[number]
    outcome = play_point(point)
    assert outcome.broken is None
    assert outcome.measures["copied"] > 0
    assert sum(outcome.measures["states"].values()) == outcome.measures["jobs"]


def test_what_follows_no_notice_that_was_kept_is_noticed():
    run, _, _, notices = played(PROVIDER, job(0, 5, 1_000))
    promises = Promises(run.world.machines)
    (machine, given, first), (_, _, second) = notices.kept[:2]
    promises.turned(0, machine, given, Batch(facts=(first,), effects=()))
    notice = msgspec.structs.replace(second.notice, previous=b"\1" * 32)
    forged = msgspec.structs.replace(second, notice=notice)
    with pytest.raises(BrokenPromiseError, match="N1"):
        promises.turned(0, machine, given, Batch(facts=(forged,), effects=()))


def test_one_seed_copies_the_same_homes_and_leaves_all_else_as_it_was():
    plan = make_plan(SCENARIO, 1)
    copied = [each for each in plan.happenings if isinstance(each, Copied)]
    none = msgspec.structs.replace(SCENARIO.faults, copied_permille=0)
    without = make_plan(msgspec.structs.replace(SCENARIO, faults=none), 1)
    rest = [each for each in plan.happenings if not isinstance(each, Copied)]
    assert copied
    assert rest == list(without.happenings)


def test_homes_are_copied_only_where_gossip_is_simulated():
    plain = {"links": {"gossip": "oracle"}, "faults": {"copied_permille": 1}}
    with pytest.raises(ScenarioError, match=r"faults\.copied_permille"):
        parse_scenario(plain)
