"""What travels on a session: numbered frames, each with one body.

A session is one stream between two peers. Either side numbers its own frames
from 1; an answer names in ``re`` the frame it answers; a frame without ``re``
that asks nothing is a push. Statements (`Stated`) and commands (`Invoke`)
carry the exact bytes that were signed; the rest is plumbing that causes nothing.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.identity.challenge import Bytes32, CommandText, DidText
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

CONTROL_PROTOCOL: Final = "/nunet/control/1"
BLOCKS_PROTOCOL: Final = "/nunet/blocks/1"
BULK_PROTOCOL: Final = "/nunet/bulk/1"
LOGS_PROTOCOL: Final = "/nunet/logs/1"
"""libp2p protocol ids of the four streams."""

ADVERTS_PER_ANSWER_MAX: Final = 128
"""Adverts in one answer: at most 1.5 KiB each, they fit a frame."""

ADVERT_BYTES_PER_ANSWER_MAX: Final = 200 << 10
"""Bytes of adverts in one answer, which leaves a frame room for the rest."""

REVOCATIONS_PER_ANSWER_MAX: Final = 128
"""Revocations in one frame; of usual size they take half of it."""

REVOCATIONS_TOPIC: Final = "/nunet/revocations/1"
"""Gossip topic of revocations."""

REVOKED: Final = "revocations-kept"
"""The kind of statement by which a node acknowledges revocations."""

PROOFS_MAX: Final = 16
"""Delegations sent with one command: twice the deepest chain that counts."""

SUBMIT: Final = "/nunet/job/submit"
STATUS: Final = "/nunet/job/status"
LOGS: Final = "/nunet/job/logs"
WATCH: Final = "/nunet/job/watch"
CANCEL: Final = "/nunet/job/cancel"
READ: Final = "/nunet/result/read"
KEEP: Final = "/nunet/result/keep"
"""Commands; each is a UCAN command path."""


class AdvertsWanted(Record, tag_field="kind", tag="adverts-wanted"):
    """Ask a neighbour for the adverts it holds."""


class Adverts(Record, tag_field="kind", tag="adverts"):
    """The adverts somebody holds, each as its author signed it."""

    items: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=ADVERTS_PER_ANSWER_MAX)]


class ChallengeWanted(Record, tag_field="kind", tag="challenge-wanted"):
    """Ask for a challenge for one command; costs the asker nothing but this."""

    subject: DidText
    command: CommandText
    request_digest: Bytes32


class Invoke(Record, tag_field="kind", tag="invoke"):
    """A UCAN invocation, and the delegations it leans on."""

    invocation: bytes
    proofs: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=PROOFS_MAX)] = ()


class Stated(Record, tag_field="kind", tag="stated"):
    """A signed statement; its kind stands inside what was signed."""

    statement_kind: str
    data: bytes


class Refused(Record, tag_field="kind", tag="refused"):
    """A signed refusal of the frame it answers."""

    data: bytes


class RevocationsWanted(Record, tag_field="kind", tag="revocations-wanted"):
    """Ask a neighbour for the revocations that it keeps."""

    after: Annotated[bytes, msgspec.Meta(max_length=64)] = b""
    """Those whose content ids come later; empty asks from the first."""
    summary: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    """Digest of what the asker keeps: if it is the same there is nothing to say."""
    reply: bool = False
    """It was asked because it was asked: do not ask back."""


class Revocations(Record, tag_field="kind", tag="revocations"):
    """Revocations, each as its author signed it; told, or in answer."""

    items: Annotated[
        tuple[bytes, ...], msgspec.Meta(max_length=REVOCATIONS_PER_ANSWER_MAX)
    ] = ()
    more: bool = False
    """There are others after the last of these."""


class RevocationsKept(Record):
    """These tokens are void here, on disk, for ever; a statement."""

    cids: Annotated[
        tuple[Cid, ...], msgspec.Meta(max_length=REVOCATIONS_PER_ANSWER_MAX)
    ]


Body = (
    AdvertsWanted
    | Adverts
    | ChallengeWanted
    | Invoke
    | Stated
    | Refused
    | RevocationsWanted
    | Revocations
)


class Frame(Record):
    """One message of a session."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    body: Body
    re: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)] | None = None
