"""The standing of delegations at a provider: which are void, and what was used up.

Rule: changed by facts alone, so that a crash loses neither a revocation nor a count.
What could not matter any more, because its token has expired long since, leaves with
the next fact; nothing else ever leaves, so a revocation cannot be undone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from nunet_node.capability.revocation import REVOCATION_KEPT_S
from nunet_node.protocol.facts import JobAccepted, ProofUsed, RevocationKept
from nunet_node.wire.cid import Cid

REVOCATIONS_MAX: Final = 8_192
"""Revocations of strangers that a provider keeps: at 16 KiB each 128 MiB at worst.
One of a token that is in use here is kept beyond it."""

BUDGETS_MAX: Final = 65_536
"""Budgets that are counted at once; each is a delegation that a job here leant on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """A token that is void."""

    keep_until_s: int | None
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was used under a token that has a budget."""

    jobs: int
    keep_until_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of delegations, here and for good."""

    void: Mapping[Cid, Void] = field(default_factory=lambda: MappingProxyType({}))
    used: Mapping[Cid, Used] = field(default_factory=lambda: MappingProxyType({}))

    def jobs_under(self, cid: Cid) -> int:
        """Return how many jobs were ever accepted under a token with a budget."""
        used = self.used.get(cid)
        return used.jobs if used is not None else 0


def revoked(standing: Standing, fact: RevocationKept) -> Standing:
    """Return the standing with one more token void."""
    void = {
        cid: entry
        for cid, entry in standing.void.items()
        if not _is_over(entry.keep_until_s, fact.at_s)
    }
    void[fact.cid] = Void(keep_until_s=fact.keep_until_s, data=fact.data)
    return replace(standing, void=void)


def accepted(standing: Standing, fact: JobAccepted) -> Standing:
    """Return the standing after a job was accepted for the first time."""
    metered = [proof for proof in fact.proofs if proof.budget is not None]
    if not metered:
        return standing
    used = {
        cid: entry
        for cid, entry in standing.used.items()
        if not _is_over(entry.keep_until_s, fact.at_s)
    }
    for proof in metered:
        used[proof.cid] = Used(
            jobs=standing.jobs_under(proof.cid) + 1, keep_until_s=_keep_until_s(proof)
        )
    return replace(standing, used=used)


def why_void(standing: Standing, proofs: Iterable[ProofUsed], now_s: int) -> str | None:
    """Return in words why a job may not start on these proofs, if it may not."""
    for proof in proofs:
        if proof.cid in standing.void:
            return "a delegation that it was accepted on has been revoked"
        if proof.expires_at_s is not None and now_s > proof.expires_at_s:
            return "a delegation that it was accepted on has expired"
    return None


def _keep_until_s(proof: ProofUsed) -> int | None:
    if proof.expires_at_s is None:
        return None
    return proof.expires_at_s + REVOCATION_KEPT_S


def _is_over(keep_until_s: int | None, now_s: int) -> bool:
    return keep_until_s is not None and now_s > keep_until_s
