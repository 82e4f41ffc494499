"""Holdings: the delegations at hand, and finding a chain among them for an act.

Rule: what is found is checked by the very rules that the receiver will check it by,
so a command that is sent on a chain fails only for reasons unknown here. A search
visits each delegation once at each depth, so it is bounded by what is held.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from nunet_node.capability.command import Command, proves
from nunet_node.capability.delegation import Delegation
from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX, Act, check_chain
from nunet_node.identity.did import Did
from nunet_node.wire.cid import Cid

HELD_MAX: Final = 1024
"""Delegations of one home: a person has few, a service some for each customer."""

Chain = tuple[Delegation, ...]


class Holdings:
    """The delegations of one home; more may be added while it is in use."""

    def __init__(self, links: Iterable[Delegation] = ()) -> None:
        self._links: dict[Cid, Delegation] = {}
        self._void: set[Cid] = set()
        self.add(links)

    def __len__(self) -> int:
        return len(self._links)

    def add(self, links: Iterable[Delegation]) -> None:
        """Hold these too; beyond `HELD_MAX` the oldest leave."""
        for link in links:
            self._links[link.cid] = link
            if len(self._links) > HELD_MAX:
                del self._links[next(iter(self._links))]

    def void(self, cids: Iterable[Cid]) -> None:
        """Use these no more: they are revoked."""
        self._void.update(cids)

    @property
    def revoked(self) -> AbstractSet[Cid]:
        """The delegations that are known here to be revoked."""
        return self._void

    def all(self) -> tuple[Delegation, ...]:
        """Return every delegation, the oldest first."""
        return tuple(self._links.values())

    def subjects(self) -> frozenset[Did]:
        """Return everybody on whose resources something is allowed."""
        return frozenset(
            link.subject for link in self._links.values() if link.subject is not None
        )

    def principals(self, invoker: Did, command: Command, now_s: int) -> frozenset[Did]:
        """Return on whose resources somebody may use a command, by delegation."""
        found: set[Did] = set()
        for link in self._links.values():
            if link.subject is None or link.issuer != link.subject:
                continue
            for chain in self._chains(invoker, link.subject, command):
                if chain[0].cid == link.cid and self._holds_now(chain, now_s):
                    found.add(link.subject)
                    break
        return frozenset(found)

    def chain(self, act: Act, now_s: int) -> Chain | None:
        """Return a chain that allows an act now, from its root; None if none does."""
        for chain in self._chains(act.invoker, act.subject, act.command):
            try:
                check_chain(chain, act, now_s=now_s, revoked=self._void)
            except CapabilityError:
                continue
            return chain
        return None

    def best(self, act: Act, now_s: int) -> Chain | None:
        """Return a chain for an act, or one that fails, so that a receiver says how."""
        failing = self._chains(act.invoker, act.subject, act.command)[:1]
        return self.chain(act, now_s) or (failing[0] if failing else None)

    def from_subject(
        self, invoker: Did, subject: Did, command: Command
    ) -> Chain | None:
        """Return the shortest chain for a command, whatever its policies ask."""
        for chain in self._chains(invoker, subject, command):
            if not any(link.cid in self._void for link in chain):
                return chain
        return None

    def _chains(self, invoker: Did, subject: Did, command: Command) -> list[Chain]:
        """Return every chain from the subject to the invoker, the shortest first."""
        whole: list[Chain] = []
        reached: set[Cid] = set()
        ends: list[Chain] = [()]
        for _ in range(CHAIN_LINKS_MAX):
            longer: list[Chain] = []
            for end in ends:
                taker = end[0].issuer if end else invoker
                for link in self._given_to(taker, subject, command):
                    if link.issuer == subject and link.subject == subject:
                        whole.append((link, *end))
                    elif link.cid not in reached:
                        reached.add(link.cid)
                        longer.append((link, *end))
            ends = longer
        return whole

    def _given_to(
        self, taker: Did, subject: Did, command: Command
    ) -> tuple[Delegation, ...]:
        return tuple(
            link
            for link in self._links.values()
            if link.audience == taker
            and link.subject in (subject, None)
            and proves(link.command, command)
        )

    def _holds_now(self, chain: Chain, now_s: int) -> bool:
        return not any(
            link.cid in self._void
            or (link.expires_at_s is not None and now_s > link.expires_at_s)
            or (link.not_before_s is not None and now_s < link.not_before_s)
            for link in chain
        )
