"""Admission: whose jobs a provider takes at all, and how much of them.

``open`` takes anybody's, ``allow`` those of a list, and ``capability`` those of owners
to whom a chain of delegations leads from an anchor that this provider trusts. The
chain is named in ``args.admission``; its policies see the very arguments of the
submit, and its budgets are counted here, without asking anybody.

Rule: the chain to the invoker says whose job it is, the chain of admission whether
this provider wants it, and neither stands for the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.held.terms import Budget, budget_of
from nunet_node.capability.invocation import Invocation
from nunet_node.capability.proof_chain import Act, check_chain
from nunet_node.identity.did import Did
from nunet_node.jobs.statements import REASON_CHARS_MAX
from nunet_node.market.offers import Refusal
from nunet_node.protocol.facts import ProofUsed
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.trust.standing import BUDGETS_MAX, Standing
from nunet_node.quantities import ResourceVector

ADMISSION_DIDS_MAX: Final = 4_096
"""Owners on a list, or anchors: more are an anchor's to name, by delegation."""


class Mode(StrEnum):
    """Whose jobs are taken."""

    OPEN = "open"
    ALLOW = "allow"
    CAPABILITY = "capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What a provider's owner has decided."""

    mode: Mode = Mode.OPEN
    allow: frozenset[Did] = frozenset()
    anchors: frozenset[Did] = frozenset()


def why_not_admitted(
    admission: Admission, given: Invocation, standing: Standing, now_s: int
) -> Refusal | None:
    """Return why this provider does not take jobs of this owner, if it does not."""
    owner = given.subject
    if admission.mode is Mode.ALLOW and owner not in admission.allow:
        return Refusal(
            code="admission.not-listed",
            reason="this provider takes jobs of listed owners alone",
            never=True,
        )
    if admission.mode is not Mode.CAPABILITY or owner in admission.anchors:
        return None
    chain = given.beside
    if not chain or chain[0].issuer not in admission.anchors:
        return Refusal(
            code="admission.no-chain",
            reason="this provider takes jobs under a delegation of one of its anchors: "
            + ", ".join(sorted(admission.anchors)[:2]),
            never=True,
        )
    act = Act(
        invoker=owner, subject=chain[0].issuer, command=given.command, args=given.args
    )
    try:
        check_chain(chain, act, now_s=now_s, revoked=standing.void.keys())
    except CapabilityError as error:
        reason = f"the chain of admission fails: {error}"[:REASON_CHARS_MAX]
        return Refusal(code=error.code, reason=reason, never=True)
    return None


def proofs_used(given: Invocation) -> tuple[ProofUsed, ...]:
    """Return what a submit leans on, each delegation once.

    Raises:
        CapabilityError: a budget of one of them is not understood.
    """
    links = {link.cid: link for link in (*given.proofs, *given.beside)}
    return tuple(
        ProofUsed(cid=cid, expires_at_s=link.expires_at_s, budget=budget_of(link))
        for cid, link in links.items()
    )


def why_over_budget(
    standing: Standing,
    active: Iterable[Job],
    proofs: Iterable[ProofUsed],
    wanted: ResourceVector,
    *,
    counted: bool,
) -> Refusal | None:
    """Return which budget a job would exceed, if it would one.

    Args:
        standing: what was used up before.
        active: the jobs that have not ended.
        proofs: what the job leans on.
        wanted: the room that it wants.
        counted: whether it was counted already, with an earlier attempt.
    """
    jobs = tuple(active)
    for proof in proofs:
        if proof.budget is None:
            continue
        if proof.cid not in standing.used and len(standing.used) >= BUDGETS_MAX:
            return Refusal(
                code="provider.budgets-full",
                reason=f"{BUDGETS_MAX} budgets are being counted already",
            )
        used_up = standing.jobs_under(proof.cid) - counted
        why = _over(proof.budget, used_up, _held_under(jobs, proof), wanted)
        if why is not None:
            return why
    return None


def _held_under(jobs: tuple[Job, ...], proof: ProofUsed) -> ResourceVector:
    held = (
        job.spec.resources
        for job in jobs
        if any(each.cid == proof.cid for each in job.proofs)
    )
    return sum(held, ResourceVector())


def _over(
    budget: Budget, jobs: int, held: ResourceVector, wanted: ResourceVector
) -> Refusal | None:
    if budget.jobs is not None and jobs >= budget.jobs:
        return Refusal(
            code="budget.jobs",
            reason=f"the delegation is for {budget.jobs} jobs here, and all were used",
            never=True,
        )
    for name in ("cpu_millis", "memory_bytes"):
        limit: int | None = getattr(budget, name)
        need = getattr(held, name) + getattr(wanted, name)
        if limit is not None and need > limit:
            return Refusal(
                code="budget.room",
                reason=f"the delegation is for {name} {limit} at a time, "
                f"and this would make it {need}",
                dimension=name,
                never=getattr(wanted, name) > limit,
            )
    return None
