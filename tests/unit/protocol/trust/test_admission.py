"""A provider takes the jobs that its owner allows, and as much of them."""

import pytest

from nunet_node.capability.held.terms import Budget, Terms
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.effects import CommandRefused
from nunet_node.protocol.facts import ProofUsed
from nunet_node.protocol.trust.admission import Admission, Mode, why_over_budget
from nunet_node.protocol.trust.standing import BUDGETS_MAX, Standing, Used
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cid import Cid
from tests.unit.protocol.trust.givers import ANCHOR, COLD, held, link, place_for
from tests.unit.protocol.world import World, place, spec

BY_CHAIN = Admission(mode=Mode.CAPABILITY, anchors=frozenset({ANCHOR.did}))
USER = SigningKey(bytes([102]) * 32)
"""The user of peer 2."""


def network(admission, *links, cpus=4):
    world = World()
    provider = world.peer(1, cpus=cpus, admission=admission)
    return provider, world.peer(2, holdings=held(*links))


def reason(peer, job):
    assert peer.orders[job].state is State.REFUSED
    return peer.orders[job].reason


def codes(peer):
    return [news.refusal.code for news in peer.told(CommandRefused)]


def test_an_open_provider_takes_anybody():
    provider, home = network(Admission())
    assert place(home, spec()) in provider.jobs


def test_a_list_takes_those_on_it_alone():
    listed = Admission(mode=Mode.ALLOW, allow=frozenset({USER.did}))
    provider, home = network(listed)
    assert place(home, spec()) in provider.jobs
    provider, home = network(Admission(mode=Mode.ALLOW, allow=frozenset({COLD.did})))
    job = place(home, spec())
    assert not provider.jobs
    assert "listed owners" in reason(home, job)
    assert codes(home) == ["admission.not-listed"]


def test_a_chain_from_an_anchor_admits_its_owner():
    provider, home = network(BY_CHAIN, link(ANCHOR, USER))
    job = place(home, spec())
    assert provider.jobs[job].owner == USER.did
    assert len(provider.jobs[job].proofs) == 1


def test_a_job_beyond_what_was_delegated_is_not_offered_for_days():
    small = link(COLD, USER, terms=Terms(cpu_millis=500))
    provider, home = network(Admission(), small)
    job = place_for(home, COLD, spec())
    assert not provider.jobs
    assert "do not satisfy a policy" in reason(home, job)
    assert codes(home) == ["capability.policy"]


def test_the_anchor_itself_needs_no_chain():
    own = Admission(mode=Mode.CAPABILITY, anchors=frozenset({USER.did}))
    provider, home = network(own)
    assert place(home, spec()) in provider.jobs


def test_without_a_chain_from_an_anchor_nobody_is_admitted():
    provider, home = network(BY_CHAIN, link(COLD, USER))
    job = place(home, spec())
    assert not provider.jobs
    assert ANCHOR.did in reason(home, job)
    assert codes(home) == ["admission.no-chain"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"terms": Terms(cpu_millis=500)}, "capability.policy"),
        ({"terms": Terms(run_s=60)}, "capability.policy"),
        ({"not_before_s": 2**40}, "capability.too-early"),
    ],
)
def test_a_chain_that_does_not_allow_this_job_is_named_with_its_link(changes, code):
    provider, home = network(BY_CHAIN, link(ANCHOR, USER, **changes))
    job = place(home, spec())
    assert not provider.jobs
    assert codes(home) == [code]
    assert f"link 1 of 1, given by {ANCHOR.did}" in reason(home, job)


def test_somebody_who_acts_for_an_owner_needs_the_owner_admitted():
    acting, admitting = link(COLD, USER), link(ANCHOR, COLD)
    provider, home = network(BY_CHAIN, acting, admitting)
    job = place_for(home, COLD, spec())
    assert provider.jobs[job].owner == COLD.did
    assert {proof.cid for proof in provider.jobs[job].proofs} == {
        acting.cid,
        admitting.cid,
    }
    provider, home = network(BY_CHAIN, acting, link(ANCHOR, USER))
    place_for(home, COLD, spec())
    assert codes(home) == ["admission.no-chain"]


def test_jobs_are_counted_across_a_crash_and_a_retry_counts_once():
    given = link(ANCHOR, USER, terms=Terms(jobs=2))
    provider, home = network(BY_CHAIN, given)
    first = place(home, spec())
    provider.kill()
    provider.world.run()
    provider.restart()
    home.world.run(for_s=60)
    assert provider.node._ledger.standing.jobs_under(given.cid) == 1
    second = place(home, spec(), salt=b"t" * 16)
    third = place(home, spec(), salt=b"u" * 16)
    assert {first, second} == set(provider.jobs)
    assert "2 jobs" in reason(home, third)


def test_room_under_a_budget_is_counted_over_all_its_jobs():
    given = link(ANCHOR, USER, terms=Terms(cpu_millis=2000))
    provider, home = network(BY_CHAIN, given)
    place(home, spec(cpus=1))
    place(home, spec(cpus=1), salt=b"t" * 16)
    place(home, spec(cpus=1), salt=b"u" * 16)
    assert len(provider.jobs) == 2
    assert codes(home) == ["budget.room"]
    provider.finish()
    provider.store()
    home.world.run(for_s=30)
    assert len(provider.jobs) == 3


def test_an_unknown_budget_refuses_the_token_whole():
    given = link(ANCHOR, USER, meta={"nunet/budget": {"moons": 1}})
    provider, home = network(BY_CHAIN, given)
    place(home, spec())
    assert not provider.jobs
    assert codes(home) == ["capability.claim"]


def test_a_new_budget_is_refused_when_too_many_are_counted():
    one = Used(jobs=1, keep_until_s=None)
    used = {Cid.of_raw(n.to_bytes(4, "big")): one for n in range(BUDGETS_MAX)}
    proof = ProofUsed(cid=Cid.of_raw(b"new"), budget=Budget(jobs=9))
    refusal = why_over_budget(
        Standing(used=used), (), (proof,), ResourceVector(), counted=False
    )
    assert refusal.code == "provider.budgets-full"
