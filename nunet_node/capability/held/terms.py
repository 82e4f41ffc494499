"""Terms: the limits that a person sets on what is given, and how they are written.

What one command must satisfy is a UCAN policy, so that anybody can check it. What
adds up over commands cannot be one: it is a budget in the token's signed ``meta``,
kept by each provider's own count. Rule: a budget only narrows; one that cannot be
read in full refuses the token instead of being passed over.
"""

from collections.abc import Mapping
from typing import Any, Final

from nunet_node.capability.delegation import Delegation
from nunet_node.capability.errors import InvalidClaimError
from nunet_node.quantities import Count
from nunet_node.wire.errors import WireError
from nunet_node.wire.schema import Record, from_plain, to_plain

BUDGET_KEY: Final = "nunet/budget"
"""Where a budget stands in a token's meta."""

LINK_KEY: Final = "nunet/link"
"""Where a shared job's link stands in a token's meta, for whoever is to fetch it."""


SEALED_KEY: Final = "nunet/sealed-key"
"""Where the key of a shared job's sealed result stands, sealed to the audience."""


class Budget(Record):
    """What may be used under one delegation at one provider."""

    jobs: Count | None = None
    """Jobs in all, for as long as the delegation holds."""
    cpu_millis: Count | None = None
    """Processors of all its jobs at a time."""
    memory_bytes: Count | None = None
    """Memory of all its jobs at a time."""


class Terms(Record):
    """Everything that `cap delegate` can limit; None does not."""

    job: str | None = None
    """The only job that it is about."""
    cpu_millis: Count | None = None
    memory_bytes: Count | None = None
    jobs: Count | None = None
    run_s: Count | None = None
    """Longest run that a job may ask for."""


class Defaults(Record):
    """What a submit means that leaves a field out."""

    cpu_millis: Count
    memory_bytes: Count
    run_s: Count


def policy_of(terms: Terms, defaults: Defaults) -> tuple[Any, ...]:
    """Return the conditions that each command must satisfy.

    Args:
        terms: the limits.
        defaults: what stands for a field that a submit leaves out.
    """
    policy: list[Any] = []
    if terms.job is not None:
        policy.append(("==", ".job", terms.job))
    if terms.cpu_millis is not None:
        policy.append(_of_resources("cpu_millis", terms.cpu_millis, defaults))
    if terms.memory_bytes is not None:
        policy.append(_of_resources("memory_bytes", terms.memory_bytes, defaults))
    if terms.run_s is not None:
        policy.append(_of_timeouts(terms.run_s, defaults))
    return tuple(policy)


def meta_of(
    terms: Terms, link: str = "", sealed_key: bytes = b""
) -> dict[str, Any] | None:
    """Return what goes into the token's meta: its budget, and how to read a shared job.

    Args:
        terms: the limits.
        link: where the shared job is.
        sealed_key: its result's key, sealed to the audience.
    """
    budget = Budget(
        jobs=terms.jobs, cpu_millis=terms.cpu_millis, memory_bytes=terms.memory_bytes
    )
    meta: dict[str, Any] = {}
    if budget != Budget():
        meta[BUDGET_KEY] = to_plain(budget)
    if link:
        meta[LINK_KEY] = link
    if sealed_key:
        meta[SEALED_KEY] = sealed_key
    return meta or None


def budget_of(delegation: Delegation) -> Budget | None:
    """Return the budget of a delegation, if it has one.

    Raises:
        InvalidClaimError: it has one that cannot be understood in full.
    """
    plain = delegation.meta.get(BUDGET_KEY)
    if plain is None:
        return None
    try:
        budget = from_plain(Budget, plain)
    except WireError as error:
        raise InvalidClaimError(f"its budget is not understood: {error}") from None
    return budget


def link_of(meta: Mapping[str, Any]) -> str:
    """Return the link of a shared job in a token's meta, or nothing."""
    link = meta.get(LINK_KEY)
    return link if isinstance(link, str) else ""


def sealed_key_of(meta: Mapping[str, Any]) -> bytes:
    """Return the sealed key of a shared job's result in a token's meta, or nothing."""
    sealed = meta.get(SEALED_KEY)
    return sealed if isinstance(sealed, bytes) else b""


def _of_resources(name: str, limit: int, defaults: Defaults) -> tuple[Any, ...]:
    # A record leaves out what has its default, so silence has to be judged too:
    # without resources the job has the default, in them a missing amount is zero.
    within = ("<=", f".spec.resources.{name}", limit)
    zero = ("==", f".spec.resources.{name}", None)
    given = ("or", (within, zero))
    if getattr(defaults, name) <= limit:
        return ("or", (("==", ".spec.resources", None), *given[1]))
    return given


def _of_timeouts(limit: int, defaults: Defaults) -> tuple[Any, ...]:
    within = ("<=", ".spec.timeouts.run_s", limit)
    if defaults.run_s <= limit:
        silent = ("==", ".spec.timeouts.run_s?", None)
        return ("or", (("==", ".spec.timeouts", None), silent, within))
    return within
