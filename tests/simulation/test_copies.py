"""Copies in a whole network: placed, audited, replaced, and found when they matter."""

from pathlib import Path

import pytest

from nunet_node.protocol import effects as fx
from nunet_node.protocol import facts as ft
from nunet_node.protocol.replicas.events import DropReplica, DropResult
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import load_scenario
from nunet_node.simulator.watch.copies import CopyPromises
from nunet_node.simulator.watch.promises import BrokenPromiseError

SCENARIO = load_scenario(Path(__file__).parents[2] / "simulations/copies.toml")


class Turns:
    """Keeps every turn of a run, to be shown to a checker again."""

    idle_too = True

    def __init__(self):
        self.turns = []

    def turned(self, now_ns, machine, given, batch):
        self.turns.append((now_ns, machine, given, batch))

    def booted(self, now_ns, machine):
        pass


@pytest.fixture(name="played", scope="module")
def _played():
    turns = Turns()
    run = Run(make_plan(SCENARIO, SCENARIO.seed), extra=(turns,))
    assert run.play().broken is None
    return run, turns.turns


@pytest.fixture
def run(played):
    return played[0]


@pytest.fixture
def seen(played):
    return played[0].world.machines, played[1]


def test_results_of_providers_that_are_gone_are_fetched_from_copies(run):
    gone = {machine.did for machine in run.world.machines if machine.gone}
    theirs = {
        job
        for machine in run.world.machines
        for job, order in machine.node.orders.items()
        if order.result is not None and order.award.provider in gone
    }
    assert theirs
    assert theirs <= run.people.fetched.keys()


def test_holders_that_keep_nothing_are_noticed_and_replaced(run):
    assert run.copies.lost > 0
    for machine in run.world.machines:
        for job in machine.node.jobs.values() if machine.up else ():
            assert len(job.replicas) == (job.spec.replicas if job.result else 0)


def broken(seen, change):
    machines, turns = seen
    checker = CopyPromises(machines)
    for now_ns, machine, given, batch in turns:
        facts, effects = change(batch)
        try:
            said = Batch(facts=tuple(facts), effects=tuple(effects))
            checker.turned(now_ns, machine, given, said)
        except BrokenPromiseError as error:
            return error.invariant
    return None


def test_the_checker_believes_what_is_right(seen):
    assert broken(seen, lambda batch: (batch.facts, batch.effects)) is None


@pytest.mark.parametrize(
    ("promise", "change"),
    [
        (
            "C1",
            lambda batch: (
                [f for f in batch.facts if not isinstance(f, ft.ReplicaKept)],
                batch.effects,
            ),
        ),
        (
            "C2",
            lambda batch: (
                batch.facts,
                [
                    *batch.effects,
                    *(
                        DropReplica(job=f.job, owner=f.owner)
                        for f in batch.facts
                        if isinstance(f, ft.ReplicaKept)
                    ),
                ],
            ),
        ),
        (
            "C2",
            lambda batch: (
                batch.facts,
                [
                    *batch.effects,
                    *(
                        DropResult(job=e.job)
                        for e in batch.effects
                        if isinstance(e, fx.StoreResult)
                    ),
                ],
            ),
        ),
    ],
    ids=["counted-before-it-is-there", "copy-let-go", "result-let-go"],
)
def test_the_checker_finds_what_is_wrong(seen, promise, change):
    assert broken(seen, change) == promise


def test_a_copy_that_counts_and_is_gone_is_found(run):
    holders = [machine for machine in run.world.machines if machine.copies]
    kept = [set(machine.copies) for machine in holders]
    for machine in holders:
        machine.copies.clear()
    with pytest.raises(BrokenPromiseError, match="C3"):
        run.copies.audited(0, run.world.machines)
    for machine, copies in zip(holders, kept, strict=True):
        machine.copies |= copies
