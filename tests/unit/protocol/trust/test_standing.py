"""What is void stays void, and what was used stays used, as long as it matters."""

from nunet_node.capability.held.terms import Budget
from nunet_node.capability.revocation import REVOCATION_KEPT_S
from nunet_node.protocol.facts import JobAccepted, ProofUsed, RevocationKept
from nunet_node.protocol.trust.standing import Standing, accepted, revoked, why_void
from nunet_node.wire.cid import Cid
from tests.unit.protocol.world import spec

ONE, OTHER = Cid.of_raw(b"one"), Cid.of_raw(b"other")
METERED = ProofUsed(cid=ONE, expires_at_s=1000, budget=Budget(jobs=2))


def kept(cid, at_s=0, keep_until_s=None):
    return RevocationKept(cid=cid, at_s=at_s, keep_until_s=keep_until_s, data=b"x")


def job(*proofs, at_s=0):
    return JobAccepted(
        job="j" * 32,
        owner="did:key:z",
        attempt=1,
        spec=spec(),
        spec_cid=OTHER,
        at_s=at_s,
        lease_until_s=1,
        queue_tag=0,
        answer=b"",
        proofs=proofs,
    )


def test_a_revocation_outlives_its_token_by_a_margin():
    standing = revoked(Standing(), kept(ONE, keep_until_s=100))
    assert ONE in revoked(standing, kept(OTHER, at_s=100)).void
    assert ONE not in revoked(standing, kept(OTHER, at_s=101)).void


def test_a_revocation_without_an_end_stays_for_ever():
    standing = revoked(Standing(), kept(ONE))
    assert ONE in revoked(standing, kept(OTHER, at_s=2**53 - 1)).void


def test_jobs_under_a_budget_are_counted_and_others_not():
    standing = accepted(accepted(Standing(), job(METERED)), job(METERED))
    assert standing.jobs_under(ONE) == 2
    assert accepted(Standing(), job(ProofUsed(cid=ONE))) == Standing()


def test_a_count_is_kept_until_its_token_cannot_matter():
    standing = accepted(Standing(), job(METERED))
    other = ProofUsed(cid=OTHER, budget=Budget(jobs=1))
    last = 1000 + REVOCATION_KEPT_S
    assert accepted(standing, job(other, at_s=last)).jobs_under(ONE) == 1
    assert accepted(standing, job(other, at_s=last + 1)).jobs_under(ONE) == 0


def test_a_job_may_start_only_while_its_proofs_hold():
    standing = revoked(Standing(), kept(OTHER))
    assert why_void(standing, (METERED,), 1000) is None
    assert "expired" in why_void(standing, (METERED,), 1001)
    assert "revoked" in why_void(standing, (METERED, ProofUsed(cid=OTHER)), 0)
    assert why_void(standing, (), 2**53 - 1) is None
