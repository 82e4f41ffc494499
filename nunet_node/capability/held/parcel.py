"""A chain of delegations as one line of text that a person can pass on.

The text is ``C`` and base64url of ``{"ctn-v1": [token, …]}``, after the container
of the UCAN working group. A parcel holds every link from the subject's own delegation
to the newest, because whoever gets it has to show all of them.

Rule: it carries exactly one chain. Where the links stand in another order they are
put in order by who gave to whom.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from nunet_node.capability.delegation import Delegation, open_delegation
from nunet_node.capability.errors import InvalidClaimError
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX
from nunet_node.identity.did import NO_DOCUMENTS, Documents
from nunet_node.wire.schema import Record, decode_record, encode_record

PARCEL_BYTES_MAX: Final = 160 << 10
"""Largest parcel: the longest chain of the largest delegations, and its frame."""

PARCEL_CHARS_MAX: Final = 4 * PARCEL_BYTES_MAX // 3 + 8
"""Longest text of a parcel, in base64 and with the end of its line."""

_MARK: Final = "C"


class _Parcel(Record, rename={"links": "ctn-v1"}):
    links: Annotated[
        tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=CHAIN_LINKS_MAX)
    ]


def pack(links: Sequence[bytes]) -> str:
    """Return the text of a chain, from its root to its newest link."""
    data = encode_record(_Parcel(links=tuple(links)))
    return _MARK + base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_links(text: str) -> tuple[bytes, ...]:
    """Return the links of a parcel as they stand in it, unverified.

    Raises:
        InvalidClaimError: the text is no parcel.
        WireError: it is not strict CBOR, or holds something else.
    """
    text = text.strip()
    if not text.startswith(_MARK) or len(text) > PARCEL_CHARS_MAX:
        raise InvalidClaimError("not a token as `nunet-node cap delegate` prints it")
    body = text[len(_MARK) :]
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidClaimError("the token's text is damaged") from None
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != body:
        raise InvalidClaimError("the token's text is damaged")
    parcel = decode_record(_Parcel, data, bytes_max=PARCEL_BYTES_MAX)
    return parcel.links


def unpack(text: str, documents: Documents = NO_DOCUMENTS) -> tuple[Delegation, ...]:
    """Return the chain of a parcel, each link verified, from the root on.

    Args:
        text: the parcel.
        documents: what was fetched of issuers that do not carry their own.

    Raises:
        CapabilityError: no parcel, a link's signature does not hold, or the links
            make no single chain.
        PeerError: a link is no valid delegation.
    """
    return in_order([open_delegation(link, documents) for link in read_links(text)])


def in_order(links: Sequence[Delegation]) -> tuple[Delegation, ...]:
    """Return links in the order in which they were given on.

    Raises:
        InvalidClaimError: they make no single chain.
    """
    left = list(links)
    takers = {link.audience for link in left}
    first = [link for link in left if link.issuer not in takers]
    chain = [first[0] if len(first) == 1 else left[0]]
    left.remove(chain[0])
    while left:
        follows = [link for link in left if link.issuer == chain[-1].audience]
        if not follows:
            raise InvalidClaimError("the token's links make no single chain")
        chain.append(follows[0])
        left.remove(follows[0])
    return tuple(chain)
