"""A checker that never complains proves nothing: each is shown a broken promise."""

import pickle
from dataclasses import replace

import msgspec
import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import effects as fx
from nunet_node.protocol import facts as ft
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Faults, Fleet, Scenario, Work
from nunet_node.simulator.shrink import shrink
from nunet_node.simulator.sweep import Point, play_all
from nunet_node.simulator.watch.promises import (
    STOPPED_NS,
    BrokenPromiseError,
    Promises,
)
from nunet_node.wire.cid import Cid

CALM = Scenario(
    run_s=40,
    fleet=Fleet(providers=2, submitters=1),
    work=Work(jobs=4, every_ms=2000, cancelled_permille=0, inputs_permille=0),
)
CRASHING = msgspec.structs.replace(
    CALM, run_s=120, faults=Faults(crashes_per_hour=120), seed=3
)


class Turns:
    """Keeps every turn of a run, to be shown to a checker again."""

    idle_too = True

    def __init__(self):
        self.turns = []

    def turned(self, now_ns, machine, given, batch):
        self.turns.append((now_ns, machine, given, batch))

    def booted(self, now_ns, machine):
        pass


@pytest.fixture(name="seen", scope="module")
def _seen():
    turns = Turns()
    run = Run(make_plan(CALM, 1), extra=(turns,))
    assert run.play().broken is None
    return run.world.machines, turns.turns


def replay(seen, change):
    """Show a checker a run in which each batch was changed; return what it says."""
    machines, turns = seen
    promises = Promises(machines)
    for now_ns, machine, given, batch in turns:
        facts, effects = change(batch)
        said = Batch(facts=tuple(facts), effects=tuple(effects))
        try:
            promises.turned(now_ns, machine, given, said)
        except BrokenPromiseError as error:
            return error.invariant
    return None


def each_fact(kind, change):
    def changed(batch):
        facts = [change(f) if isinstance(f, kind) else f for f in batch.facts]
        return [f for f in facts if f is not None], batch.effects

    return changed


def alter(**fields):
    return lambda record: msgspec.structs.replace(record, **fields)


def test_a_run_that_keeps_its_promises_is_believed(seen):
    assert replay(seen, lambda batch: (batch.facts, batch.effects)) is None


def test_a_second_owner_is_noticed(seen):
    assert replay(seen, each_fact(ft.JobAccepted, alter(owner="did:other"))) == "I1"


def test_a_move_that_the_table_lacks_is_noticed(seen):
    def jump(fact):
        jumps = fact.state is State.STARTING
        return alter(state=State.COMPLETED)(fact) if jumps else fact

    assert replay(seen, each_fact(ft.JobMoved, jump)) == "I2"


def test_a_second_result_is_noticed(seen):
    machines, turns = seen
    promises = Promises(machines)
    for now_ns, machine, given, batch in turns:
        promises.turned(now_ns, machine, given, batch)
        ends = [f for f in batch.facts if isinstance(f, ft.NoticeKept)]
        if ends and ends[-1].notice.result is not None:
            # As if the owner had given the attempt up, and another one ended too.
            books = promises._books[machine.index]
            books.told.clear()
            books.heard.clear()
            books.chain[ends[-1].job] = ends[-1].notice.previous
            notice = alter(result=Cid.of_raw(b"another"))(ends[-1].notice)
            other = Batch(facts=(alter(notice=notice)(ends[-1]),), effects=())
            with pytest.raises(BrokenPromiseError, match="I3"):
                promises.turned(now_ns, machine, given, other)
            return
    pytest.fail("no job completed")


def test_more_reserved_than_there_is_is_noticed(seen):
    def greedy(fact):
        need = msgspec.structs.replace(fact.spec.resources, cpu_millis=10**9)
        return alter(spec=msgspec.structs.replace(fact.spec, resources=need))(fact)

    assert replay(seen, each_fact(ft.JobAccepted, greedy)) == "I4"


def test_a_start_that_nobody_asked_for_is_noticed(seen):
    def forged(batch):
        effects = [
            fx.StartJob(job="a" * 32, attempt=1, owner=e.owner, spec=e.spec)
            if isinstance(e, fx.StartJob)
            else e
            for e in batch.effects
        ]
        return batch.facts, effects

    assert replay(seen, forged) == "I5"


def test_an_acknowledged_job_that_is_on_no_disk_is_noticed(seen):
    def unwritten(batch):
        kinds = (ft.JobAccepted, ft.JobMoved)
        effects = [e for e in batch.effects if not isinstance(e, fx.StartJob)]
        return [f for f in batch.facts if not isinstance(f, kinds)], effects

    assert replay(seen, unwritten) == "I6"


def test_a_start_after_a_cancel_is_noticed(seen):
    machines, turns = seen
    promises = Promises(machines)
    for now_ns, machine, given, batch in turns:
        for custody in promises._books[machine.index].jobs.values():
            custody.cancelling = True
        starts = [e for e in batch.effects if isinstance(e, fx.StartJob)]
        if starts and not any(isinstance(f, ft.JobAccepted) for f in batch.facts):
            break
        if starts:
            promises.turned(
                now_ns, machine, given, Batch(facts=batch.facts, effects=())
            )
            promises._books[machine.index].jobs[starts[0].job].cancelling = True
            with pytest.raises(BrokenPromiseError, match="I7"):
                promises.turned(
                    now_ns, machine, given, Batch(facts=(), effects=tuple(starts))
                )
            return
        promises.turned(now_ns, machine, given, batch)
    pytest.fail("no job was accepted and started in one turn")


def test_a_job_that_runs_on_after_its_cancel_is_noticed(seen):
    machines, turns = seen
    promises = Promises(machines)
    for now_ns, machine, given, batch in turns:
        if isinstance(given, ins.JobExited):
            stopping = promises._books[machine.index].stopping
            stopping[given.job] = now_ns - STOPPED_NS
            promises.turned(now_ns, machine, given, Batch(facts=(), effects=()))
            with pytest.raises(BrokenPromiseError, match="I7"):
                promises.turned(now_ns + 1, machine, given, batch)
            return
        promises.turned(now_ns, machine, given, batch)
    pytest.fail("no job ran to its end")


def test_an_open_job_that_is_forgotten_is_noticed(seen):
    def forget(batch):
        taken = [f for f in batch.facts if isinstance(f, ft.JobAccepted)]
        return [*batch.facts, *(ft.JobForgotten(job=f.job) for f in taken)], ()

    assert replay(seen, forget) == "I6"


def test_an_award_of_what_has_a_result_is_noticed(seen):
    awards = {}

    def again(batch):
        awards.update(
            {f.job: f for f in batch.facts if isinstance(f, ft.AwardIntended)}
        )
        ends = [f for f in batch.facts if isinstance(f, ft.NoticeKept)]
        over = [awards[f.job] for f in ends if f.notice.result is not None]
        return [*batch.facts, *over], batch.effects

    assert replay(seen, again) == "I3"


def test_a_notice_that_is_kept_twice_is_noticed(seen):
    def twice(batch):
        kept = [f for f in batch.facts if isinstance(f, ft.NoticeKept)]
        return [*batch.facts, *kept[:1]], batch.effects

    assert replay(seen, twice) == "I11"


def test_a_stranger_who_may_read_is_noticed(seen):
    def leaked(batch):
        effects = [
            fx.GrantRead(peer_id="12D3KooWStranger", job=e.job, root=e.root)
            if isinstance(e, fx.GrantRead)
            else e
            for e in batch.effects
        ]
        return batch.facts, effects

    assert replay(seen, leaked) == "I8"


def test_a_command_that_acts_twice_is_noticed(seen):
    machines, turns = seen
    promises = Promises(machines)
    for now_ns, machine, given, batch in turns:
        promises.turned(now_ns, machine, given, batch)
        if any(isinstance(f, ft.JobAccepted) for f in batch.facts):
            again = Batch(facts=batch.facts[:1], effects=())
            with pytest.raises(BrokenPromiseError, match="I9"):
                promises.turned(now_ns, machine, given, again)
            return


def test_a_job_that_never_ends_is_noticed():
    short = msgspec.structs.replace(CALM, settle_s=1, run_s=1)
    work = msgspec.structs.replace(short.work, run_ms=60_000, every_ms=1, run_s_max=600)
    short = msgspec.structs.replace(short, work=work)
    broken = Run(make_plan(short, 1)).play().broken
    assert broken is not None
    assert broken.invariant == "I10"


class Aside:
    """A node that knows what it has not written down."""

    idle_too = False

    def turned(self, now_ns, machine, given, batch):
        ledger = machine.node._ledger
        for job in ledger.active_jobs():
            ledger.put(job.job, replace(job, isolation="aside"))

    def booted(self, now_ns, machine):
        pass


def test_a_node_that_knows_what_its_journal_does_not_is_noticed():
    broken = Run(make_plan(CRASHING, 3), extra=(Aside(),)).play().broken
    assert broken is not None
    assert broken.invariant == "I12"


def test_strangers_are_told_nothing_and_end_nothing():
    curious = msgspec.structs.replace(
        CALM,
        fleet=Fleet(providers=2, submitters=3),
        faults=Faults(prying_permille=1000),
    )
    run = Run(make_plan(curious, 1))
    outcome = run.play()
    assert outcome.broken is None
    assert outcome.measures["states"] == {"completed": 4}
    asked = [
        order.job
        for machine in run.world.machines
        for order in machine.node.orders.values()
        if order.spec is None and order.cancel_wanted
    ]
    assert asked


class Forgetful:
    """A disk that loses the last thing that was written to it."""

    idle_too = False

    def turned(self, now_ns, machine, given, batch):
        lost = [f for f in batch.facts if isinstance(f, ft.JobAccepted | ft.JobMoved)]
        if lost:
            machine.journal[:] = [f for f in machine.journal if f not in lost]

    def booted(self, now_ns, machine):
        pass


def test_a_disk_that_forgets_is_noticed():
    broken = Run(make_plan(CRASHING, 3), extra=(Forgetful(),)).play().broken
    assert broken is not None
    assert broken.invariant == "I6"


def test_a_broken_promise_comes_back_from_another_process():
    short = msgspec.structs.replace(CALM, settle_s=1, run_s=1)
    work = msgspec.structs.replace(short.work, run_ms=60_000, every_ms=1, run_s_max=600)
    point = Point(scenario=msgspec.structs.replace(short, work=work), seed=1)
    [(_, here)] = play_all([point], workers=1)
    there = pickle.loads(pickle.dumps(here))
    assert here.broken.invariant == there.broken.invariant == "I10"
    assert str(here.broken) == str(there.broken)


def test_a_failure_is_made_small():
    short = msgspec.structs.replace(CALM, settle_s=1, run_s=1)
    work = msgspec.structs.replace(short.work, run_ms=60_000, every_ms=1, run_s_max=600)
    plan = make_plan(msgspec.structs.replace(short, work=work), 1)
    small = shrink(plan, "I10", tries_max=30)
    assert len(small.happenings) < len(plan.happenings)
    assert Run(small).play().broken.invariant == "I10"
