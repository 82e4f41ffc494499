"""How a custodian finds holders, checks up on them, and replaces those that fail."""

import pytest

from nunet_node.capability.delegation import open_delegation
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.inputs import AddressesChanged
from nunet_node.protocol.messages import KEEP, SUBMIT
from nunet_node.protocol.replicas.choosing import nearest
from nunet_node.protocol.replicas.events import ReplicaMoved
from nunet_node.protocol.replicas.placing import (
    AUDIT_AGAIN_S,
    AUDIT_S,
    AVOIDED_S,
    PLACE_AGAIN_S,
    SETTLING_S,
    SILENCES_MAX,
)
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting
from tests.unit.protocol.world import World, place

LONG_S = AUDIT_S + SILENCES_MAX * AUDIT_AGAIN_S + AVOIDED_S


@pytest.fixture
def town():
    return Neighbourhood()


def test_as_many_copies_as_are_wanted_are_placed_at_the_end_of_the_job(town):
    job = town.finished()

    assert len(town.placed(job)) == 2
    assert {h.did for h in town.keeping(job)} == set(town.placed(job))


def test_a_job_that_wants_no_copies_has_none(town):
    job = town.finished(wanting(replicas=0))

    assert town.placed(job) == []
    assert all(not holder.node.replicas for holder in town.holders)


def test_holders_are_chosen_in_an_order_that_anybody_can_compute(town):
    job = town.finished(wanting(replicas=1))
    adverts = town.user.node.adverts.fresh(town.world.now.unix_s)
    offers = [heard for heard in adverts if heard.payload.store_bytes]

    assert town.placed(job) == [nearest(job, offers, 1)[0].issuer]


def test_two_copies_are_not_put_at_one_address_if_there_is_another():
    town = Neighbourhood(holders=6)
    for number, holder in enumerate(town.holders):
        host = "203.0.114.9" if number else "198.51.101.1"
        where = (f"/ip4/{host}/tcp/{4000 + number}",)
        holder.give(AddressesChanged(addresses=where))
    town.world.run(for_s=5)

    for number in range(3):
        job = town.finished(salt=bytes([number]) * 16)
        assert town.holders[0].did in town.placed(job)
        assert len(town.placed(job)) == 2


def test_different_jobs_have_different_holders(town):
    offers = [
        heard
        for heard in town.user.node.adverts.fresh(town.world.now.unix_s)
        if heard.payload.store_bytes
    ]
    first = {nearest(JobId(f"job-{n}"), offers, 1)[0].issuer for n in range(64)}

    assert first == {holder.did for holder in town.holders}


def test_a_holder_that_comes_later_is_found_later():
    town = Neighbourhood(holders=0)
    job = town.finished(wanting(replicas=1))
    assert town.placed(job) == []

    late = town.world.peer(9, store_bytes=1 << 20)
    town.world.run(for_s=2 * PLACE_AGAIN_S)

    assert town.placed(job) == [late.did]


def test_a_holder_without_room_is_passed_over():
    town = Neighbourhood(holders=2, room_bytes=4 * 16)
    roomy = town.world.peer(9, store_bytes=1 << 20)
    town.world.run(for_s=1)
    job = town.finished(wanting(replicas=1))

    assert town.placed(job) == [roomy.did]


def test_a_holder_that_has_all_of_it_passes_its_audits(town):
    job = town.finished()
    before = town.placed(job)
    town.world.run(for_s=2 * AUDIT_S)

    assert town.placed(job) == before
    moved = town.provider.told(ReplicaMoved)
    assert all(each.placed for each in moved)


def test_a_holder_that_lost_its_blocks_is_noticed_and_replaced(town):
    job = town.finished()
    loser = town.keeping(job)[0]
    other = next(h for h in town.holders if h.did not in town.placed(job))
    loser.copies.clear()
    town.world.run(for_s=AUDIT_S + 1)

    assert loser.did not in town.placed(job)
    assert other.did in town.placed(job)
    lost = [m for m in town.provider.told(ReplicaMoved) if not m.placed]
    assert [(m.holder, m.reason) for m in lost] == [(loser.did, "it has no block")]


def test_a_holder_that_lost_its_record_is_noticed_and_replaced(town):
    job = town.finished()
    loser = town.keeping(job)[0]
    loser.kill()
    loser.journal.clear()
    loser.restart()
    town.world.run(for_s=AUDIT_S + 1)

    assert len(town.placed(job)) == 2
    assert loser.did not in town.placed(job)


def test_a_holder_that_is_away_for_a_while_is_not_replaced(town):
    job = town.finished()
    away = town.keeping(job)[0]
    before = set(town.placed(job))
    away.kill()
    town.world.run(for_s=AUDIT_S + 1)
    away.restart()
    town.world.run(for_s=2 * AUDIT_AGAIN_S)

    assert set(town.placed(job)) == before


def test_a_holder_that_is_gone_for_ever_is_replaced(town):
    job = town.finished()
    gone = town.keeping(job)[0]
    gone.kill()
    town.world.run(for_s=LONG_S)

    assert len(town.placed(job)) == 2
    assert gone.did not in town.placed(job)


def test_a_custodian_that_was_down_takes_its_audits_up_again(town):
    job = town.finished()
    loser = town.keeping(job)[0]
    loser.copies.clear()
    town.provider.kill()
    town.provider.restart()
    town.world.run(for_s=SETTLING_S + 5)

    assert loser.did not in town.placed(job)
    assert len(town.placed(job)) == 2


def test_a_placement_that_the_disk_could_not_take_is_made_again(town):
    job = place(town.user, wanting())
    town.provider.finish()
    town.provider.disk_full = True
    town.provider.store()
    assert town.provider.jobs[job].result is None
    town.provider.disk_has_room()
    town.world.run(for_s=60)

    assert len(town.placed(job)) == 2


def test_many_results_are_looked_after_one_after_the_other():
    town = Neighbourhood(holders=2)
    jobs = [
        town.finished(wanting(replicas=1), salt=number.to_bytes(16, "big"))
        for number in range(1, 9)
    ]
    for holder in town.holders:
        holder.copies.clear()
    town.provider.kill()
    town.provider.restart()
    town.world.run(for_s=SETTLING_S + 60)

    lost = [m for m in town.provider.told(ReplicaMoved) if not m.placed]
    assert {m.job for m in lost} == set(jobs)


def test_a_submit_that_wants_copies_must_allow_them():
    world = World()
    provider = world.peer(1, cpus=2)
    puppet = Puppet(world, 50)
    session = puppet.dial(provider)
    heard = puppet.command(session, provider, SUBMIT, puppet.submit_args(wanting()))

    assert code_of(heard) == "capability.claim"
    assert "replicas are asked for, but not allowed" in heard.body.payload.reason
    assert not provider.jobs


def test_only_the_copies_of_one_job_are_allowed(town):
    job = town.finished()
    (mandate,) = map(open_delegation, town.provider.jobs[job].mandate)

    assert mandate.command == KEEP
    assert mandate.audience == town.provider.did
    assert mandate.conditions == (("==", ".job", job), ("<=", ".copies", 2))
    assert mandate.expires_at_s >= town.provider.jobs[job].kept_until_s
