"""Whose documents a frame cannot be opened without: the did:webs that signed in it.

Rule: only what a signature depends on is named, and only a few of that, because each
name makes us ask a server that its sender chose. What can be seen to be wrong without
any document names nobody. A frame in which no did:web stands costs one search of its
bytes.
"""

from collections.abc import Iterator
from typing import Final

from nunet_node.capability.delegation import issuer_of_delegation
from nunet_node.capability.invocation import issuer_of_invocation
from nunet_node.capability.revocation import issuers_of_revocation
from nunet_node.errors import PeerError
from nunet_node.identity.did import WEB_MARK, Did, is_web
from nunet_node.protocol.messages import Body, Frame, Invoke, Revocations
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record

FRAME_WEBS_MAX: Final = 4
"""Different did:webs that one frame may lean on: an organisation, a part of it, a
person, and whoever admits them."""


def web_signers(data: bytes, *, now_s: int, own_did: Did) -> tuple[Did, ...]:
    """Return the did:webs whose documents a frame needs, at most a few.

    Args:
        data: the frame's bytes, as they came.
        now_s: unix seconds.
        own_did: the node's own DID, the only one that commands may be meant for.
    """
    if WEB_MARK not in data:
        return ()
    try:
        frame = decode_record(Frame, data, bytes_max=FRAME_BYTES_MAX)
        named = tuple(_signers(frame.body, now_s, own_did))
    except PeerError:
        # Opening it says what is wrong.
        return ()
    return tuple(dict.fromkeys(filter(is_web, named)))[:FRAME_WEBS_MAX]


def _signers(body: Body, now_s: int, own_did: Did) -> Iterator[Did]:
    match body:
        case Invoke():
            yield issuer_of_invocation(body.invocation, now_s=now_s, audience=own_did)
            yield from map(issuer_of_delegation, body.proofs)
        case Revocations():
            for item in body.items:
                yield from _revokers(item)
        case _:
            return


def _revokers(item: bytes) -> tuple[Did, ...]:
    try:
        return issuers_of_revocation(item)
    except PeerError:
        # A bad one is no fault of who passed it on, nor of those beside it.
        return ()
