"""What can go wrong on disk, each with a stable code and a remedy in its message.

Rule: a refusal to open or to write leaves every file as it was, so that the person
who reads the message still has everything there is to recover.
"""

from typing import Self

from nunet_node.errors import PeerError


class LedgerDamagedError(PeerError):
    """The journal's file does not hold what was written to it."""

    code = "storage.ledger-damaged"

    @classmethod
    def found(cls, path: str, what: str) -> Self:
        """Return the error of a file in which this was found, with the ways out."""
        return cls(
            f"{path} is damaged: {what}; restore it from a copy, or move {path}* away "
            "to begin anew, without what it recorded"
        )


class LedgerTooNewError(PeerError):
    """A later version of this program wrote the journal."""

    code = "storage.ledger-too-new"


class LedgerUnwritableError(PeerError):
    """The facts were not recorded: the disk is full, read-only or failing."""

    code = "storage.ledger-unwritable"


class LedgerConflictError(PeerError):
    """Another process extended the stream since the caller last read it."""

    code = "storage.ledger-conflict"


class HomeInUseError(PeerError):
    """Another process holds the lock on this home."""

    code = "storage.home-in-use"


class BlockMissingError(PeerError):
    """No block of that name is stored here."""

    code = "storage.block-missing"


class BlockDamagedError(PeerError):
    """Bytes do not hash to the name they are kept or sent under."""

    code = "storage.block-damaged"


class StoreUnavailableError(PeerError):
    """The bytes were not stored or read: the disk is full, read-only or failing."""

    code = "storage.unavailable"


class TreeRefusedError(PeerError):
    """A directory holds something that a tree of plain files cannot carry."""

    code = "storage.tree-refused"


class TargetRefusedError(PeerError):
    """The place to write a tree to is taken or cannot be made."""

    code = "storage.target-refused"
