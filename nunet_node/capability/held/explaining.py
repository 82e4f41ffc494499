"""A chain in words: who gave what to whom until when, and where it fails.

Rule: nothing is passed over because an earlier link failed. Every link is looked at
by itself with the checks of `proof_chain`, so that whoever has to repair a chain sees
all that is wrong with it, each fault under UCAN's own name for it.
"""

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from nunet_node.capability.command import proves
from nunet_node.capability.delegation import Delegation, open_delegation
from nunet_node.capability.errors import (
    CapabilityError,
    InvalidAudienceError,
    InvalidClaimError,
    InvalidSubjectError,
    MatchError,
    RevokedError,
)
from nunet_node.capability.held.terms import budget_of
from nunet_node.capability.policy import Meter
from nunet_node.capability.proof_chain import (
    CHAIN_LINKS_MAX,
    Act,
    check_link,
    check_time,
)
from nunet_node.errors import PeerError
from nunet_node.identity.did import NO_DOCUMENTS, Documents
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import to_plain

WORDS_CHARS_MAX: Final = 2000
"""Longest description of one policy; a longer one is cut and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a link fails."""

    name: str
    """UCAN's name for it."""
    code: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStory:
    """One link in words; `delegation` is absent if it could not be read."""

    number: int
    words: str
    faults: tuple[Fault, ...]
    delegation: Delegation | None


def explain(
    links: Sequence[bytes],
    *,
    now_s: int,
    act: Act | None = None,
    revoked: AbstractSet[Cid] = frozenset(),
    documents: Documents = NO_DOCUMENTS,
) -> tuple[LinkStory, ...]:
    """Return the story of each link, from the root on.

    Args:
        links: the tokens, in the order in which they were given on.
        now_s: unix seconds.
        act: something that is to be done under the chain, if that is asked.
        revoked: the tokens that are known to be revoked.
        documents: what was fetched of issuers that do not carry their own.
    """
    stories: list[LinkStory] = []
    above: Delegation | None = None
    root: Delegation | None = None
    for number, data in enumerate(links[:CHAIN_LINKS_MAX], start=1):
        try:
            link = open_delegation(data, documents)
        except PeerError as error:
            stories.append(_unreadable(number, error))
            above = None
            continue
        root = root or link
        faults = _faults_of(link, above, root, now_s=now_s, act=act, revoked=revoked)
        if act is not None and number == len(links) and link.audience != act.invoker:
            wrong = InvalidAudienceError(f"it was given to {link.audience}")
            faults.append(_fault(wrong))
        stories.append(
            LinkStory(
                number=number,
                words=describe(link),
                faults=tuple(faults),
                delegation=link,
            )
        )
        above = link
    return tuple(stories)


def describe(link: Delegation) -> str:
    """Return one delegation as a sentence."""
    whose = f"of {link.subject}" if link.subject else "of whatever it may itself"
    words = f"{link.issuer} allows {link.audience} to use {link.command} {whose}"
    if link.not_before_s is not None:
        words += f", from {moment(link.not_before_s)}"
    words += f", {until(link.expires_at_s)}"
    if link.conditions:
        words += f", if {_conditions(link.conditions)}"
    return words + _budget(link)


def until(expires_at_s: int | None) -> str:
    """Return an expiry in words."""
    return "for ever" if expires_at_s is None else f"until {moment(expires_at_s)}"


def moment(unix_s: int) -> str:
    """Return a moment as people write it, in UTC; far ones as they are."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {unix_s}"


def _faults_of(
    link: Delegation,
    above: Delegation | None,
    root: Delegation,
    *,
    now_s: int,
    act: Act | None,
    revoked: AbstractSet[Cid],
) -> list[Fault]:
    found = _root(link) if link is root else _below(link, root)
    if above is not None:
        found += _joint(above, link)
    if link.cid in revoked:
        found.append(RevokedError("it has been revoked"))
    try:
        budget_of(link)
        check_time(link, now_s, must_expire=True)
        if act is not None:
            check_link(link, act, now_s, must_expire=True, meter=Meter())
    except CapabilityError as error:
        # Without arguments it cannot be told whether they satisfy a policy.
        if act is None or act.args or not isinstance(error, MatchError):
            found.append(error)
    return [_fault(error) for error in found]


def _root(link: Delegation) -> list[CapabilityError]:
    if link.subject is None:
        return [InvalidClaimError("the first link must name whose it is")]
    if link.issuer != link.subject:
        return [InvalidSubjectError(f"{link.issuer} is not {link.subject}")]
    return []


def _below(link: Delegation, root: Delegation) -> list[CapabilityError]:
    if link.subject in (None, root.subject):
        return []
    return [InvalidSubjectError("it is about somebody else's resources")]


def _joint(above: Delegation, link: Delegation) -> list[CapabilityError]:
    found: list[CapabilityError] = []
    if above.audience != link.issuer:
        found.append(
            InvalidAudienceError(f"what is above was given to {above.audience}")
        )
    if not proves(above.command, link.command):
        found.append(InvalidClaimError(f"what is above allows {above.command} alone"))
    return found


def _unreadable(number: int, error: PeerError) -> LinkStory:
    return LinkStory(
        number=number,
        words="a token that cannot be read",
        faults=(_fault(error),),
        delegation=None,
    )


def _fault(error: PeerError) -> Fault:
    name = getattr(error, "ucan_name", "InvalidClaim")
    return Fault(name=name, code=error.code, words=str(error))


def _conditions(conditions: tuple[Any, ...]) -> str:
    words = " and ".join(map(_condition, conditions))
    return words if len(words) <= WORDS_CHARS_MAX else f"{words[:WORDS_CHARS_MAX]}…"


def _condition(condition: Any) -> str:
    """Return one condition of a policy in words, whoever wrote it."""
    match tuple(condition):
        case ("==", selector, None):
            words = f"{selector} is left out"
        case ("and" | "or" as name, parts):
            words = f"({f' {name} '.join(map(_condition, parts)) or 'anything'})"
        case ("not", part):
            words = f"not {_condition(part)}"
        case ("all" | "any" as name, selector, part):
            words = f"of {selector} {_QUANTITIES[name]} has: {_condition(part)}"
        case (name, selector, literal):
            plain = json.dumps(literal, ensure_ascii=True, default=str)
            words = f"{selector} {_COMPARISONS[name]} {plain}"
        case _:
            words = json.dumps(condition, ensure_ascii=True, default=str)
    return words


_COMPARISONS: Final = {
    "==": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
    "like": "is like",
}
_QUANTITIES: Final = {"all": "every item", "any": "some item"}


def _budget(link: Delegation) -> str:
    try:
        budget = budget_of(link)
    except CapabilityError:
        return ", within a budget that is not understood"
    if budget is None:
        return ""
    parts = ", ".join(f"{name} {value}" for name, value in to_plain(budget).items())
    return f", within {parts} at each provider"
