"""Copies are looked after when their custodian is gone for ever."""

from dataclasses import replace

import pytest

from nunet_node.capability.delegation import open_delegation
from nunet_node.protocol.messages import KEEP
from nunet_node.protocol.replicas import holding, placing, succession, upkeep
from nunet_node.protocol.replicas.events import ReplicaMoved
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting

HOUR_S = AUDIT_S = STEP_S = 60
SUCCESSION_S = 4 * AUDIT_S
LONG_S = SUCCESSION_S + 2 * STEP_S
HOURS = {
    holding: {"KEEPER_S": 2 * AUDIT_S},
    placing: {"AUDIT_S": AUDIT_S, "AUDIT_AGAIN_S": 5, "AVOIDED_S": 10},
    succession: {"SUCCESSION_S": SUCCESSION_S, "STEP_S": STEP_S},
    upkeep: {"UPKEEP_S_MAX": HOUR_S},
}
"""Hours of this town are minutes: adverts make every second of it dear."""


@pytest.fixture
def town(monkeypatch):
    for module, limits in HOURS.items():
        for name, seconds in limits.items():
            monkeypatch.setattr(module, name, seconds)
    return Neighbourhood(holders=4)


def acting(town):
    return [h for h in town.holders if h.up and h.node._provider.desk.acting]


def places(town, job):
    """Return the place in the succession of each holder that has a copy."""
    return {
        holder.did: replica.place
        for holder in town.holders
        for replica in town.kept(holder)
        if replica.job == job
    }


def first_of(town, job):
    """Return the holders of a job, the one that succeeds first first."""
    order = places(town, job)
    return sorted(town.keeping(job), key=lambda holder: order[holder.did])


def test_holders_have_places_and_the_right_to_ask_others(town):
    job = town.finished()

    assert sorted(places(town, job).values()) == [0, 1]
    for holder in town.keeping(job):
        ((replica,),) = (town.kept(holder),)
        links = [open_delegation(data) for data in replica.mandate]
        assert [link.audience for link in links] == [town.provider.did, holder.did]
        assert {link.command for link in links} == {KEEP}
        assert links[-1].expires_at_s <= links[0].expires_at_s


def test_while_the_custodian_asks_nobody_takes_its_place(town):
    town.finished()
    town.world.run(for_s=3 * LONG_S)

    assert acting(town) == []


def test_a_custodian_that_is_gone_is_succeeded_by_one_holder(town):
    job = town.finished()
    first, second = first_of(town, job)
    town.provider.kill()
    town.world.run(for_s=SUCCESSION_S - HOUR_S)
    assert acting(town) == []
    town.world.run(for_s=LONG_S)

    assert acting(town) == [first]
    # In the custodian's place it has as many copies kept as the owner wanted.
    assert len(town.keeping(job)) == 3
    assert second in town.keeping(job)
    town.world.run(for_s=3 * LONG_S)
    assert acting(town) == [first]
    assert len(town.keeping(job)) == 3


def test_a_holder_that_fails_afterwards_is_replaced(town):
    job = town.finished()
    first, second = first_of(town, job)
    town.provider.kill()
    town.world.run(for_s=LONG_S)
    second.copies.clear()
    town.world.run(for_s=AUDIT_S + HOUR_S)

    moved = first.told(ReplicaMoved)
    assert [m.holder for m in moved if not m.placed] == [second.did]
    assert len([h for h in town.keeping(job) if h.copies]) == 3


def test_the_next_holder_succeeds_the_first(town):
    job = town.finished()
    first, _ = first_of(town, job)
    town.provider.kill()
    town.world.run(for_s=LONG_S)
    first.kill()
    town.world.run(for_s=LONG_S + 4 * STEP_S)

    heirs = acting(town)
    assert len(heirs) == 1
    assert heirs[0] is not first
    assert len([h for h in town.keeping(job) if h.up]) == 3


def test_a_custodian_that_comes_back_goes_on_and_nobody_stands_in_its_place(town):
    job = town.finished()
    before = set(town.placed(job))
    town.provider.kill()
    town.world.run(for_s=LONG_S)
    assert acting(town)
    town.provider.restart()
    town.world.run(for_s=2 * AUDIT_S)

    assert acting(town) == []
    assert set(town.placed(job)) == before
    assert len(town.keeping(job)) >= len(before)


def test_two_at_once_lose_no_copy_and_one_stops(town):
    job = town.finished()
    first, second = first_of(town, job)
    town.provider.kill()
    here, there = (h for h in town.holders if h not in (first, second))
    for one, other in ((first, second), (first, there), (second, here), (here, there)):
        town.world.part(one, other)
    town.world.run(for_s=LONG_S + STEP_S)
    assert set(acting(town)) == {first, second}
    before = set(town.keeping(job))
    town.world.heal()
    town.world.run(for_s=4 * AUDIT_S)

    assert len(acting(town)) == 1
    assert before <= set(town.keeping(job))


def test_who_cannot_reach_the_one_who_acts_hears_of_it_from_others(town):
    job = town.finished()
    first, second = first_of(town, job)
    town.provider.kill()
    town.world.part(first, second)
    town.world.run(for_s=3 * LONG_S)

    assert acting(town) == [first]


def test_a_successor_that_restarts_waits_anew(town):
    job = town.finished()
    first, _ = first_of(town, job)
    town.provider.kill()
    town.world.run(for_s=LONG_S)
    first.kill()
    first.restart()
    town.world.run(for_s=HOUR_S)
    assert acting(town) == []
    town.world.run(for_s=LONG_S)

    assert len(acting(town)) == 1
    assert len(town.keeping(job)) >= 3


def test_the_time_of_copies_ends_though_the_custodian_is_gone(town):
    job = town.finished(wanting(retention_s=LONG_S + HOUR_S))
    town.provider.kill()
    town.world.run(for_s=LONG_S)
    assert len(town.keeping(job)) == 3
    town.world.run(for_s=2 * HOUR_S)

    assert town.keeping(job) == []
    assert acting(town) == []
    assert all(not h.node._provider.desk.keepers for h in town.holders)


def test_a_copy_for_which_nothing_was_handed_over_is_not_looked_after(town):
    job = town.finished()
    for holder in town.holders:
        records = holder.node._ledger.replicas
        for key, replica in list(records.items()):
            records[key] = replace(replica, mandate=())
    town.provider.kill()
    town.world.run(for_s=2 * LONG_S)

    assert acting(town) == []
    assert len(town.keeping(job)) == 2
