"""Two families of errors, split by who can act on them.

`PeerError` is somebody else's doing: bytes that cannot be trusted, a peer that
breaks the protocol, a file or an option that is wrong. `MisuseError` is our own
bug. Every leaf of `PeerError` carries a stable, dotted ``code`` that travels in
signed refusals; messages state the fact and the limit.
"""

from typing import ClassVar


class NunetNodeError(Exception):
    """The root of every error this package raises on purpose."""


class PeerError(NunetNodeError):
    """A peer, a user, a file or a clock gave us something that cannot be used."""

    code: ClassVar[str] = "peer"
    """Stable name of the refusal; part of the protocol."""


class MisuseError(NunetNodeError):
    """Our own code broke a rule of this package; never a peer's fault."""
