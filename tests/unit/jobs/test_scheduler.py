"""Owners take turns, large jobs are not starved, and room is never oversold."""

import pytest

from nunet_node.jobs.scheduler import (
    Holding,
    Waiting,
    free_of,
    given_of,
    in_order,
    startable,
    starts_in_s,
    tag_for,
)
from nunet_node.jobs.specification import JobId
from nunet_node.quantities import Gpus, ResourceVector

TOTAL = ResourceVector(cpu_millis=4000, memory_bytes=4000, disk_bytes=4000)


def need(cpus):
    return ResourceVector(cpu_millis=1000 * cpus)


def waiting(name, cpus=1, *, tag=1, sequence=0, run_s=100, ready=True):
    return Waiting(
        job=JobId(name),
        tag=tag,
        sequence=sequence,
        need=need(cpus),
        run_s=run_s,
        ready=ready,
    )


def holding(cpus, ends_in_s):
    return Holding(need=need(cpus), ends_in_s=ends_in_s)


def test_what_is_held_is_not_free():
    held = [need(1), ResourceVector(memory_bytes=3000)]
    assert free_of(TOTAL, held) == ResourceVector(
        cpu_millis=3000, memory_bytes=1000, disk_bytes=4000
    )


def test_the_queue_goes_by_tag_and_then_by_acceptance():
    queue = [
        waiting("late", tag=2, sequence=1),
        waiting("second", tag=1, sequence=3),
        waiting("first", tag=1, sequence=2),
    ]
    assert [w.job for w in in_order(queue)] == ["first", "second", "late"]


def test_an_owner_with_many_jobs_does_not_push_another_back():
    crowd = [
        waiting(f"crowd-{n}", tag=tag, sequence=n)
        for n, tag in enumerate(tags_of_one_owner(5))
    ]
    newcomer = waiting("newcomer", tag=tag_for(0, 0), sequence=99)
    order = [w.job for w in in_order([*crowd, newcomer])]
    assert order.index("newcomer") == 1


def tags_of_one_owner(count):
    tags = [0]
    for _ in range(count):
        tags.append(tag_for(tags[-1], 0))
    return tags[1:]


def test_an_owner_who_was_away_gains_no_credit():
    assert tag_for(last_tag_of_owner=3, last_tag_started=50) == 51


def test_jobs_start_while_there_is_room():
    queue = [waiting("a", 2), waiting("b", 2, sequence=1), waiting("c", sequence=2)]
    assert startable(TOTAL, [], queue) == ("a", "b")


def test_a_job_that_is_not_ready_holds_nothing_back():
    queue = [waiting("waits", 4, ready=False), waiting("goes", 4, sequence=1)]
    assert startable(TOTAL, [], queue) == ("goes",)


def test_a_short_job_fills_the_gap_before_a_large_one():
    queue = [waiting("large", 4), waiting("short", 2, sequence=1, run_s=50)]
    assert startable(TOTAL, [holding(2, ends_in_s=50)], queue) == ("short",)


def test_a_job_that_would_delay_the_large_one_waits():
    queue = [waiting("large", 4), waiting("long", 2, sequence=1, run_s=51)]
    assert startable(TOTAL, [holding(2, ends_in_s=50)], queue) == ()


def test_a_long_job_may_use_what_the_large_one_will_leave():
    queue = [
        waiting("large", 3),
        waiting("beside", 1, sequence=1, run_s=500),
        waiting("one too many", 1, sequence=2, run_s=500),
    ]
    assert startable(TOTAL, [holding(2, ends_in_s=50)], queue) == ("beside",)


def test_memory_alone_can_be_what_is_missing():
    large = Waiting(
        job=JobId("large"),
        tag=1,
        sequence=0,
        need=ResourceVector(memory_bytes=4001),
        run_s=1,
        ready=True,
    )
    assert startable(TOTAL, [], [large]) == ()


def test_the_estimate_is_nothing_where_there_is_room():
    assert starts_in_s(TOTAL, [], [], need(4)) == 0


def test_the_estimate_waits_for_what_runs():
    held = [holding(2, ends_in_s=30), holding(2, ends_in_s=70)]
    assert starts_in_s(TOTAL, held, [], need(2)) == 30
    assert starts_in_s(TOTAL, held, [], need(3)) == 70


@pytest.mark.parametrize(("cpus", "seconds"), [(4, 130), (2, 130)])
def test_the_estimate_waits_for_those_ahead(cpus, seconds):
    held = [holding(4, ends_in_s=30)]
    ahead = [waiting("ahead", 4, run_s=100)]
    assert starts_in_s(TOTAL, held, ahead, need(cpus)) == seconds


T4 = Gpus(model="T4", memory_bytes=15)
A100 = Gpus(model="A100", memory_bytes=40)


def gpus(kind, count):
    return Gpus(model=kind.model, memory_bytes=kind.memory_bytes, count=count)


def wanting(count, model=""):
    return ResourceVector().with_gpus([Gpus(model=model, count=count)])


TWO_T4, FOUR_A100 = gpus(T4, 2), gpus(A100, 4)
CLUSTER = ResourceVector().with_gpus([gpus(T4, 4), FOUR_A100])
ROOMS = tuple(ResourceVector().with_gpus([kind]) for kind in (TWO_T4, FOUR_A100))
"""Two machines with two T4 each, and one with four A100."""


def test_gpus_of_two_machines_are_not_those_of_one():
    given = given_of(wanting(4), CLUSTER, ROOMS)
    assert given.gpu_kinds == (FOUR_A100,)
    assert given_of(wanting(4), CLUSTER).gpu_kinds == (gpus(T4, 4),)


def test_a_job_is_given_the_smallest_kind_that_one_machine_has_enough_of():
    assert given_of(wanting(2), CLUSTER, ROOMS).gpu_kinds == (TWO_T4,)


def test_a_job_waits_for_the_machine_that_has_enough_of_one_kind():
    running = [Holding(need=wanting(1, "A100"), ends_in_s=50)]
    name = JobId("four")
    four = Waiting(job=name, tag=1, sequence=0, need=wanting(4), run_s=100, ready=True)
    assert startable(CLUSTER, running, [four], ROOMS) == ()
    assert starts_in_s(CLUSTER, running, [], four.need, ROOMS) == 50
    assert startable(CLUSTER, [], [four], ROOMS) == (name,)


def test_what_no_machine_can_ever_give_holds_nobody_back():
    jobs = [
        Waiting(job=JobId(name), tag=1, sequence=n, need=need, run_s=9999, ready=True)
        for n, (name, need) in enumerate([("five", wanting(5)), ("one", wanting(1))])
    ]
    assert startable(CLUSTER, [], jobs, ROOMS) == ("one",)
