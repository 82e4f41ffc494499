"""Giving a guest its secrets: files that are in memory, and seen by it alone.

Rule: a value goes from the request, which only memory holds, into a file system of
memory that only the guest's own mount namespace has. So it stands on no disk and in
no list of processes, and the kernel forgets it with the guest, whatever ends that.
Bubblewrap makes that namespace for a native job; the runner of a WebAssembly module
makes one for itself. Source: memfd_create(2), bwrap(1), mount_namespaces(7).
"""

import ctypes
import os
import sys
from base64 import b64decode
from typing import Final

SECRETS_MARK: Final = "{secrets}"
"""The word among bubblewrap's for which the files stand."""

BYTES_MAX: Final = 1 << 20
"""Size of the file system: all secrets of a job, each in pages of its own."""

Secrets = list[tuple[str, str]]
"""Names, and values in base64."""

_READ_ONLY: Final = "0400"
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 32, 16384, 1 << 18
_PLAIN: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
_CAPABILITY_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


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


def mount(place: str, secrets: Secrets, uid: int | None) -> None:
    """Show this process alone the secrets in a directory, for as long as it lives.

    Call it while there is one thread, and before privileges are given up.

    Args:
        place: an empty directory, which stays so for everybody else.
        secrets: what it holds.
        uid: the user that the process is about to become; None if it stays as it is.

    Raises:
        OSError: the kernel refuses; nothing is shown.
    """
    owner = os.getuid() if uid is None else uid
    group = os.getgid() if uid is None else uid
    if uid is None:
        _own_user_namespace(owner, group)
    else:
        _checked(_libc.unshare(_CLONE_NEWNS))
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE, "")
    about = f"size={BYTES_MAX},mode=0700,uid={owner},gid={group}"
    _mount("tmpfs", place, "tmpfs", _PLAIN, about)
    for name, value in secrets:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(f"{place}/{name}", flags, 0o400)
        os.write(target, b64decode(value))
        os.fchown(target, owner, group)
        os.close(target)
    _mount("none", place, "", _MS_REMOUNT | _MS_RDONLY | _PLAIN, "")
    if uid is None:
        _no_capabilities()


def main() -> None:
    """Tell by the exit code whether `mount` works here, over the directory in argv."""
    place, uid = sys.argv[1], sys.argv[2]
    mount(place, [("TRIED", "")], int(uid) if uid else None)
    os._exit(0)


def _memory_file(value: str) -> int:
    descriptor = os.memfd_create("secret", 0)
    os.write(descriptor, b64decode(value))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _own_user_namespace(uid: int, gid: int) -> None:
    """Become able to mount, in a namespace where this user is itself."""
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - start-up time
            file.write(text)


def _no_capabilities() -> None:
    """Give up what the new user namespace gave: a guest that breaks out gets none."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, none))


def _mount(source: str, place: str, kind: str, flags: int, about: str) -> None:
    words = (source.encode(), place.encode(), kind.encode())
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), about.encode()))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"secrets: {os.strerror(number)}")
