"""Logs that no result has are copied while the job runs, and are read from a holder."""

import pytest

from nunet_node.jobs.statements import LogReceipt
from nunet_node.protocol import effects as fx
from nunet_node.protocol.inputs import CancelWanted, LogsWanted
from nunet_node.protocol.replicas.events import (
    LogCopyGranted,
    LogsStored,
    ReplicaMoved,
    ReplicaWanted,
)
from nunet_node.protocol.replicas.holding import HANDING_S_MIN
from nunet_node.protocol.replicas.upkeep import LOGS_FIRST_S, LOGS_S
from tests.unit.protocol.peer import log_head, log_root
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting
from tests.unit.protocol.world import OUTPUT, place


@pytest.fixture
def town():
    return Neighbourhood(holders=3)


def speaking(town, links=2, **more):
    """Have a job run that has written so many links, which are copied."""
    job = place(town.user, wanting(**more))
    town.world.run(for_s=LOGS_FIRST_S)
    town.provider.pack(links)
    return job


def copies(town, job):
    """Return how far the logs go at each holder that has a copy of them."""
    return [
        replica.root
        for holder in town.holders
        for replica in holder.node.replicas.values()
        if replica.job == job and replica.kept and replica.logs
    ]


def restarted(town, job, links):
    """Have the provider come back to a job whose chain goes so far."""
    town.provider.kill()
    town.provider.restart(logs={job: links})


def cancelled(town, job, links):
    """Have a running job cancelled, whose logs go so far."""
    (order,) = town.provider.running
    town.provider.running.clear()
    town.user.give(CancelWanted(job=job))
    town.world.run()
    town.provider.running.append(order)
    town.provider.finish(limit="cancelled", log=log_head(links))


def asked(town, job, holder):
    """Return the answer of a holder whom the owner asks for the logs."""
    wanted = ReplicaWanted(
        job=job,
        holder=holder.did,
        peer_id=holder.peer_id,
        addresses=(),
        logs=True,
    )
    town.user.news.clear()
    town.user.give(wanted)
    town.world.run()
    answers = town.user.told((LogCopyGranted, fx.CommandRefused))
    assert len(answers) == 1, answers
    return answers[0]


def test_what_a_job_writes_is_copied_while_it_runs(town):
    job = speaking(town)

    assert copies(town, job) == [log_root(job, 2)] * 2
    assert len(town.placed(job)) == 2
    town.world.run(for_s=LOGS_S)
    town.provider.pack(5)
    assert copies(town, job) == [log_root(job, 5)] * 2


def test_a_job_that_wants_no_copies_has_its_logs_packed_never(town):
    place(town.user, wanting(replicas=0))
    town.world.run(for_s=3 * LOGS_S)

    assert town.provider.packings == []


def test_logs_that_did_not_grow_are_copied_once(town):
    job = speaking(town)
    town.world.run(for_s=LOGS_S)
    before = len(town.provider.journal)
    town.provider.pack(2)

    assert len(town.provider.journal) == before
    assert copies(town, job) == [log_root(job, 2)] * 2


def test_a_cancelled_jobs_logs_are_copied_to_their_end(town):
    job = speaking(town)
    cancelled(town, job, 3)
    town.provider.pack(3)

    assert copies(town, job) == [log_root(job, 3)] * 2
    (holder, _) = town.keeping(job)
    said = asked(town, job, holder)
    assert isinstance(said.receipt, LogReceipt)
    assert (said.receipt.links, said.receipt.ended) == (3, True)
    town.world.run(for_s=3 * LOGS_S)
    assert town.provider.packings == []


def test_logs_that_were_whole_already_are_said_to_be_all_at_the_end(town):
    job = speaking(town)
    cancelled(town, job, 2)
    town.provider.pack(2)
    (holder, _) = town.keeping(job)

    assert asked(town, job, holder).receipt.ended


def test_the_owner_reads_the_logs_of_a_provider_that_is_gone(town):
    job = speaking(town)
    town.provider.kill()
    holder, other = town.keeping(job)
    said = asked(town, job, holder)

    assert (said.holder, said.peer_id) == (holder.did, holder.peer_id)
    assert (said.receipt.links, said.receipt.ended) == (2, False)
    granted = [g for g in holder.grants if g.peer_id == town.user.peer_id]
    assert [g.root for g in granted] == [log_root(job, 2)]
    assert asked(town, job, other).receipt == said.receipt


def test_to_who_has_no_right_to_them_logs_are_not_there(town):
    job = speaking(town)
    holder = town.keeping(job)[0]
    order = town.user.orders[job]
    stranger = town.world.peer(50)
    stranger.node._ledger.orders[job] = order
    stranger.give(
        ReplicaWanted(
            job=job,
            holder=holder.did,
            peer_id=holder.peer_id,
            addresses=(),
            logs=True,
        )
    )
    town.world.run()

    assert not stranger.told(LogCopyGranted)
    assert not [g for g in holder.grants if g.peer_id == stranger.peer_id]


def test_a_result_takes_the_place_of_the_logs(town):
    job = speaking(town)
    town.provider.finish()
    town.provider.copies.add(OUTPUT)
    town.provider.store()

    assert copies(town, job) == []
    assert len(town.keeping(job)) == 2
    # Each copy is told when it is there: of the logs, then of the result.
    moved = [each.logs for each in town.provider.told(ReplicaMoved)]
    assert moved == [True, True, False, False]
    (holder, _) = town.keeping(job)
    said = asked(town, job, holder)
    assert said.receipt.result == OUTPUT


def test_logs_of_an_attempt_never_take_the_place_of_its_result(town):
    job = speaking(town)
    town.provider.finish()
    town.provider.store()
    late = LogsStored(
        job=job,
        attempt=1,
        root=log_root(job, 9),
        size_bytes=9,
        head=log_head(9),
    )
    town.provider.give(late)
    town.world.run()

    assert town.provider.jobs[job].packed is None
    assert copies(town, job) == []


def test_a_copy_stays_until_the_longer_one_has_come(town):
    job = speaking(town)
    holder = town.keeping(job)[0]
    # The provider is gone between its question and the bytes.
    replica = holder.node.replicas[town.user.user.did, job]
    town.world.run(for_s=LOGS_S)
    town.world._hand_copy = lambda _peer, _effect: None
    town.provider.pack(4)
    town.provider.kill()
    waiting = holder.node.replicas[town.user.user.did, job]
    assert (waiting.root, waiting.kept) == (log_root(job, 4), False)
    assert waiting.whole == replica
    assert asked(town, job, holder).receipt.links == 2

    town.world.run(for_s=HANDING_S_MIN + 2)
    assert holder.node.replicas[town.user.user.did, job] == replica
    assert asked(town, job, holder).receipt.links == 2


def test_a_job_that_its_provider_lost_has_its_logs_copied_again(town):
    job = speaking(town)
    restarted(town, job, 3)
    town.world.run(for_s=1)
    town.provider.pack(3)
    town.world.run(for_s=120)

    assert town.provider.jobs[job].packed.ended
    assert copies(town, job) == [log_root(job, 3)] * 2
    town.user.give(LogsWanted(job=job))
    town.world.run()
    (granted,) = town.user.told(fx.LogsGranted)
    assert granted.head == log_head(3)
