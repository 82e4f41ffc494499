"""Why bytes were refused: one error for each thing that can be wrong with them.

The codes are part of the protocol: they travel in signed refusals.
"""

from nunet_node.errors import PeerError


class WireError(PeerError):
    """Bytes from somebody else that are not a value of ours."""

    code = "wire"


class TooLargeError(WireError):
    """More bytes, items or levels than the limit for this place."""

    code = "wire.too-large"


class TruncatedError(WireError):
    """The bytes end before the value does, or claim more than there is."""

    code = "wire.truncated"


class NonCanonicalError(WireError):
    """A value in another encoding than its only one."""

    code = "wire.non-canonical"


class UnsupportedError(WireError):
    """Well-formed CBOR outside our subset: a float, a tag, a key that is no text."""

    code = "wire.unsupported"


class SchemaError(WireError):
    """Canonical bytes that are not a value of the type that belongs here."""

    code = "wire.schema"


class CidError(WireError):
    """Not a content id, or one of a kind that is not spoken here."""

    code = "wire.cid"


class EnvelopeError(WireError):
    """Not a signed statement of the one form that is spoken here."""

    code = "wire.envelope"
