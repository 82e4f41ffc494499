"""A result is for anybody because its owner said so, here and wherever it is copied."""

from nunet_node.protocol.replicas.upkeep import LOGS_FIRST_S
from nunet_node.runtime.exchange.public.roots import PublicRoots
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting
from tests.unit.protocol.world import place, spec


def test_a_public_result_is_public_at_its_custodian_and_at_every_holder():
    town = Neighbourhood()
    job = town.finished()
    town.world.run(for_s=5)
    root = town.provider.jobs[job].result

    kept = town.keeping(job)
    assert len(kept) == 2
    shown = [PublicRoots(peer.node)() for peer in (town.provider, *town.holders)]
    assert shown == [
        frozenset({root}),
        *(frozenset({root} if holder in kept else ()) for holder in town.holders),
    ]


def test_a_sealed_result_is_public_nowhere():
    town = Neighbourhood()
    job = place(town.user, spec(replicas=2))
    town.provider.finish()
    town.provider.store(sealed_key=bytes(80))
    town.provider.copies.add(town.provider.jobs[job].result)
    town.world.run(for_s=5)

    assert len(town.keeping(job)) == 2
    for peer in (town.provider, *town.holders):
        assert PublicRoots(peer.node)() == frozenset()


def test_the_logs_of_a_job_whose_result_will_be_public_are_not():
    town = Neighbourhood()
    job = place(town.user, wanting())
    town.world.run(for_s=LOGS_FIRST_S)
    town.provider.pack(2)
    town.world.run(for_s=5)

    assert len(town.keeping(job)) == 2
    for holder in town.holders:
        assert PublicRoots(holder.node)() == frozenset()


def test_what_is_no_longer_kept_is_no_longer_public():
    town = Neighbourhood()
    town.finished(wanting(retention_s=60))
    town.world.run(for_s=5)
    holder = next(each for each in town.holders if each.node.replicas)
    roots = [PublicRoots(peer.node) for peer in (town.provider, holder)]
    assert all(each() for each in roots)

    town.world.run(for_s=120)
    assert not any(each() for each in roots)
