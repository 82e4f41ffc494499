"""Why a tree of files, or a block of one, was refused."""

from nunet_node.errors import PeerError


class ResultError(PeerError):
    """Bytes that describe or make up a tree of files, and cannot be used."""

    code = "results"


class PathError(ResultError):
    """A name that could lead outside the tree, or that no disk takes."""

    code = "results.path"


class ManifestError(ResultError):
    """A manifest that contradicts itself."""

    code = "results.manifest"


class TreeTooLargeError(ResultError):
    """More files or bytes than the reader set aside room for."""

    code = "results.too-large"


class BlockError(ResultError):
    """A block that is not the one that was asked for."""

    code = "results.block"


class SealError(ResultError):
    """Sealed bytes do not open, or hold what no provider makes."""

    code = "results.sealed"


class LogTamperedError(ResultError):
    """A chain of logs is not what its provider signed."""

    code = "results.log-tampered"


class NoAgreementKeyError(ResultError):
    """The reader's DID has no key that something could be sealed to."""

    code = "results.no-agreement-key"
