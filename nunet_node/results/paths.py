"""Names of files in a tree, fit to be joined to a directory on any machine.

Rule: a path is relative, stays below where it starts, has one spelling, and shows
itself to a person as what it is. A path that breaks the rule is refused, never
mended: mending makes two names one (CWE-22, CWE-41).
"""

from collections.abc import Iterable
from typing import Final

from nunet_node.results.errors import ManifestError, PathError

PATH_BYTES_MAX: Final = 1024
"""A quarter of what Linux takes (PATH_MAX), so that a tree fits below a long
directory name."""

NAME_BYTES_MAX: Final = 255
"""What ext4, XFS, APFS and NTFS take for one name, counted in UTF-8 bytes."""

PATH_PARTS_MAX: Final = 32
"""Deepest directory; walkers recurse once for each level."""

_FORBIDDEN: Final = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x5C]))
"""Control characters, which forge lines in a terminal, and the backslash, which
separates directories on other systems."""

_BIDI: Final = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Marks that reorder text on a screen, so that a name shows another ending."""


def check_path(path: str) -> None:
    """Refuse a path that is not plain, relative and within the limits.

    Raises:
        PathError: it is not.
    """
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise PathError(f"path {path!a} is no Unicode text") from None
    parts = path.split("/")
    if length > PATH_BYTES_MAX or len(parts) > PATH_PARTS_MAX:
        raise PathError(
            f"path {path[:40]!a}… is longer than {PATH_BYTES_MAX} bytes or deeper "
            f"than {PATH_PARTS_MAX} names"
        )
    if not _FORBIDDEN.isdisjoint(path) or not _BIDI.isdisjoint(path):
        raise PathError(f"path {path!a} holds a control character or a backslash")
    for part in parts:
        if part in {"", ".", ".."} or len(part.encode()) > NAME_BYTES_MAX:
            raise PathError(f"path {path!a} is not plain and relative")


def check_order(paths: Iterable[str]) -> None:
    """Check that paths rise strictly, and that no file is another's directory.

    Raises:
        ManifestError: two are equal or out of order, or one lies below another.
    """
    before = b""
    files: set[str] = set()
    directories: set[str] = set()
    for path in paths:
        name = path.encode()
        if name <= before:
            raise ManifestError(f"{path!a} stands there twice, or out of order")
        before = name
        files.add(path)
        while (path := path.rpartition("/")[0]) and path not in directories:
            directories.add(path)
    both = files & directories
    if both:
        raise ManifestError(f"{min(both)!a} is both a file and a directory")
