"""A plan is drawn from the seed alone, and is data."""

import msgspec
import pytest

from nunet_node.simulator.plan import (
    Cancelled,
    Crashed,
    Parted,
    Placed,
    Plan,
    make_plan,
    read_plan,
)
from nunet_node.simulator.scenario import Faults, Scenario, ScenarioError, Work

BUSY = Scenario(
    work=Work(jobs=50, burst_jobs=20, cancelled_permille=500),
    faults=Faults(
        crashes_per_hour=60,
        partitions_per_hour=120,
        clock_jumps_per_hour=60,
        disk_full_per_hour=60,
        stops_per_hour=60,
        engine_lost_per_hour=60,
        vanish_permille=500,
        copied_permille=500,
    ),
)


def test_a_seed_gives_one_plan():
    assert make_plan(BUSY, 1) == make_plan(BUSY, 1)
    assert make_plan(BUSY, 1).happenings != make_plan(BUSY, 2).happenings


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Crashed, {"machine": 12}),
        (Placed, {"submitter": 4}),
        (Placed, {"user": 1}),
        (Cancelled, {"submitter": -1}),
    ],
)
def test_a_plan_that_names_who_is_not_there_is_none(kind, wrong):
    plan = make_plan(BUSY, 1)
    assert read_plan(msgspec.json.encode(plan)) == plan
    first = next(each for each in plan.happenings if isinstance(each, kind))
    bent = msgspec.structs.replace(first, **wrong)
    data = msgspec.json.encode(msgspec.structs.replace(plan, happenings=(bent,)))
    with pytest.raises(ScenarioError, match="nobody is there"):
        read_plan(data)


def test_every_job_is_placed_once_and_cancelled_after_that():
    happenings = make_plan(BUSY, 3).happenings
    placed = {h.number: h.at_ns for h in happenings if isinstance(h, Placed)}
    assert sorted(placed) == list(range(70))
    for cancelled in (h for h in happenings if isinstance(h, Cancelled)):
        assert cancelled.at_ns >= placed[cancelled.number]


def test_happenings_come_in_order_of_time():
    moments = [h.at_ns for h in make_plan(BUSY, 4).happenings]
    assert moments == sorted(moments)


def test_every_kind_of_trouble_occurs():
    kinds = {
        type(h).__name__ for seed in range(5) for h in make_plan(BUSY, seed).happenings
    }
    assert kinds == {
        "Placed",
        "Cancelled",
        "Crashed",
        "Vanished",
        "Parted",
        "ClockJumped",
        "DiskFilled",
        "Stopped",
        "Copied",
        "EngineLost",
    }
    parted = [
        h.kind
        for seed in range(5)
        for h in make_plan(BUSY, seed).happenings
        if isinstance(h, Parted)
    ]
    assert set(parted) == {"halves", "one-way", "bridge"}


def test_a_plan_survives_its_file():
    plan = make_plan(BUSY, 5)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_more_machines_keep_their_proportions():
    assert Scenario().sized(120).fleet.providers == 80
    assert Scenario().sized(120).machines == 120
