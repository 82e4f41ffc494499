"""Which nodes keep a job's copies: the order in which they come, and where they are.

Rule: the order is one that anybody can compute from the job's id and the adverts, so
that the owner finds a copy without having been told where it is (rendezvous hashing:
Thaler and Ravishankar, 1998). Among those with whom an owner looks, places come first
at which there is nothing of the job yet: what happens to a machine happens to all that
is behind its address. Addresses are what nodes say of themselves, and prove nothing.
"""

import heapq
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import REPLICAS_MAX, JobId
from nunet_node.market.offers import Advert
from nunet_node.protocol.replicas.charge import distance

NEAREST_MAX: Final = 2 * REPLICAS_MAX
"""Nodes among which the owner of a result looks for a copy of it."""


def nearest(
    job: JobId, offers: Iterable[Statement[Advert]], count: int
) -> list[Statement[Advert]]:
    """Return the nodes that keep a job's copies first, the first of all first."""
    return heapq.nsmallest(count, offers, key=lambda heard: distance(job, heard.issuer))


def apart(
    near: Sequence[Statement[Advert]], count: int, taken: Iterable[Sequence[str]]
) -> list[Statement[Advert]]:
    """Return so many of some nodes, each at a place of its own as far as there are any.

    Args:
        near: the nodes, the first of all first.
        count: how many are wanted.
        taken: the addresses of each node that counts already.
    """
    places = frozenset[str]().union(*map(places_of, taken))
    chosen, others = [], []
    for heard in near:
        own = places_of(heard.payload.addresses)
        if own & places:
            others.append(heard)
        else:
            chosen.append(heard)
            places |= own
    return [*chosen, *others][:count]


def places_of(addresses: Iterable[str]) -> frozenset[str]:
    """Return where a node is: the hosts of its multiaddrs that tell it from others.

    Every machine has a loopback, and every home a network of the same private numbers:
    they count only where there is nothing better.
    """
    hosts = {"/".join(address.split("/", 3)[:3]) for address in addresses}
    ranked = {host: _rank(host.rpartition("/")[2]) for host in hosts}
    best = max(ranked.values(), default=0)
    return frozenset(host for host, rank in ranked.items() if rank == best)


def _rank(host: str) -> int:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        # A name, or an address of another kind, is one of its own.
        return 2
    return 0 if ip.is_loopback else 1 + ip.is_global
