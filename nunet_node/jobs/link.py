"""Links: where a job is, in one line that a person can pass on.

A link names the job, its owner, its custodian and where to reach that::

    nunet://<job id>?owner=<did>&custodian=<did>&addr=<multiaddr>&addr=<multiaddr>

Rule: a link carries no authority. Whoever follows it still proves a DID to the
custodian. The syntax is RFC 3986's, narrowed to characters that need no escape,
so that every link has one spelling and survives a shell without quotes but for
the ``&``.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, parse_did
from nunet_node.jobs.specification import JobId, is_job_id
from nunet_node.wire.schema import Record

SCHEME: Final = "nunet://"

LINK_CHARS_MAX: Final = 4096
"""Longest link: two DIDs and eight addresses fit three times over."""

LINK_ADDRESSES_MAX: Final = 8
"""Addresses in a link: as many as an advert carries."""

_ADDRESS: Final = re.compile(r"/[A-Za-z0-9._:/~-]{1,255}")


class LinkError(PeerError):
    """The text is not a link to a job."""

    code: ClassVar[str] = "link.malformed"


class Link(Record):
    """A job, whose it is, and who keeps it."""

    job: JobId
    owner: Did
    custodian: Did
    addresses: tuple[str, ...] = ()
    """Multiaddrs of the custodian, best first."""


def format_link(
    job: JobId, owner: Did, custodian: Did, addresses: Sequence[str] = ()
) -> str:
    """Return the link's text; addresses that it cannot carry are left out."""
    carried = [each for each in addresses if _ADDRESS.fullmatch(each)]
    parts = [f"owner={owner}", f"custodian={custodian}"]
    parts += [f"addr={each}" for each in carried[:LINK_ADDRESSES_MAX]]
    return f"{SCHEME}{job}?{'&'.join(parts)}"


def is_link(text: str) -> bool:
    """Tell whether ``text`` is meant as a link, well formed or not."""
    return text.startswith(SCHEME)


def parse_link(text: str) -> Link:
    """Read a link.

    Raises:
        LinkError: a part is missing, repeated, unknown or malformed.
        PeerError: a DID is of a method or a form that is not spoken here.
    """
    if not is_link(text) or len(text) > LINK_CHARS_MAX:
        raise LinkError(f"a link is {SCHEME}… of at most {LINK_CHARS_MAX} characters")
    job, _, query = text.removeprefix(SCHEME).partition("?")
    if not is_job_id(job):
        raise LinkError(f"{job[:64]!r} is not a job id")
    fields = _fields(query)
    return Link(
        job=JobId(job),
        owner=parse_did(_single(fields, "owner")),
        custodian=parse_did(_single(fields, "custodian")),
        addresses=_addresses(fields.get("addr", [])),
    )


def _fields(query: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name not in ("owner", "custodian", "addr") or not equals:
            raise LinkError(f"a link has no part {part[:64]!r}")
        fields.setdefault(name, []).append(value)
    return fields


def _single(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    if len(values) != 1:
        raise LinkError(f"a link names one {name}, not {len(values)}")
    return values[0]


def _addresses(values: list[str]) -> tuple[str, ...]:
    if len(values) > LINK_ADDRESSES_MAX:
        raise LinkError(f"a link has {LINK_ADDRESSES_MAX} addresses at most")
    for value in values:
        if not _ADDRESS.fullmatch(value):
            raise LinkError(f"{value[:64]!r} is not an address")
    return tuple(values)
