"""Giving a guest its secrets: files that are in memory, and seen by it alone.

Rule: a value goes from the request, which only memory holds, into a file system that
only the guest's own mount namespace has. So it stands on no disk and in no list of
processes, and the kernel forgets it with the guest, whatever ends that. Source:
memfd_create(2), bwrap(1).
"""

import os
from base64 import b64decode
from typing import Final

SECRETS_MARK: Final = "{secrets}"
"""The word among bubblewrap's for which the files stand."""

_READ_ONLY: Final = "0400"

Secrets = list[tuple[str, str]]
"""Names, and values in base64."""


def laid_out(words: list[str], secrets: Secrets) -> list[str]:
    """Return bubblewrap's words with a file for each secret; it inherits them."""
    if not secrets:
        return words
    at = words.index(SECRETS_MARK)
    files: list[str] = []
    for name, value in secrets:
        place = f"{words[at - 1]}/{name}"
        files += ["--perms", _READ_ONLY, "--file", str(_memory_file(value)), place]
    return [*words[:at], *files, *words[at + 1 :]]


def _memory_file(value: str) -> int:
    descriptor = os.memfd_create("secret", 0)
    os.write(descriptor, b64decode(value))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
