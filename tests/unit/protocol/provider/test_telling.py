"""What a provider states about a job: receipts, reports and places in the queue."""

import pytest

from nunet_node.identity.statement import open_statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import RECEIPT, Receipt
from nunet_node.protocol.provider.telling import queue_of, report_of
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.puppet import spec_cid
from tests.unit.protocol.world import OUTPUT, START_S, World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    return world.peer(2)


def told(provider):
    return provider.node._provider.desk, Turn(provider.node._ledger, provider.world.now)


def test_a_receipt_can_be_verified_years_later_by_anyone(world, provider, user):
    job = place(user, spec())
    world.run(for_s=3)
    provider.finish(
        cpu_ms=120, memory_peak_bytes=1 << 20, isolation="bubblewrap", fuel=9
    )
    provider.store()

    receipt = open_statement(
        provider.jobs[job].receipt,
        kind=RECEIPT,
        payload_type=Receipt,
        now_s=START_S + 10**9,
        audience=None,
        check_time=False,
    )

    said = receipt.payload
    assert receipt.issuer == provider.did
    assert (said.job, said.owner, said.spec) == (job, user.user.did, spec_cid(spec()))
    assert (said.result, said.result_bytes, said.exit_code) == (OUTPUT, 17, 0)
    assert (said.cpu_ms, said.memory_peak_bytes) == (120, 1 << 20)
    assert (said.fuel, said.limit) == (9, "")
    assert (said.engine, said.isolation) == ("process", "bubblewrap")
    assert said.ended_s - said.started_s == 3


def test_positions_follow_the_order_of_the_queue(provider, user):
    place(user, spec(cpus=2), b"0" * 16)
    jobs = [place(user, spec(cpus=2), bytes([n]) * 16) for n in (1, 2, 3)]
    desk, turn = told(provider)

    queues = [queue_of(desk, turn, provider.jobs[j]) for j in jobs]

    assert [q.position for q in queues] == [1, 2, 3]
    estimates = [q.estimate_s for q in queues]
    assert estimates == sorted(estimates)
    assert estimates[0] > 0


def test_a_report_has_the_whole_history(provider, user):
    job = place(user, spec())
    provider.finish(exit_code=3)
    provider.store()

    report = report_of(*told(provider), provider.jobs[job])

    assert [m.state for m in report.history] == [
        State.ALLOCATED,
        State.STARTING,
        State.RUNNING,
        State.STORING,
        State.FAILED,
    ]
    assert (report.exit_code, report.queue, report.sequence) == (3, None, 5)
    assert report.resources == spec().resources
