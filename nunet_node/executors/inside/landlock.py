"""Landlock: give up, for good, every path but a few directories.

Raw system calls, because the C library has no wrappers. Best effort: an old kernel
yields False and the isolation label leaves the word out. Source: Linux
Documentation/userspace-api/landlock.rst, ABI versions 1 to 6.
"""

import ctypes
import errno
import os
import struct
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION_FLAG: Final = 1
_RULE_PATH_BENEATH: Final = 1
_FS_RIGHTS_BY_ABI: Final = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many filesystem rights each version knows; from version 5 it is 16."""
_FS_RIGHTS_LATEST: Final = 16
_ABI_WITH_NETWORK: Final = 4
_ABI_WITH_SCOPES: Final = 6

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Return the kernel's Landlock version, or 0 where there is none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def restrict(writable: list[str]) -> bool:
    """Leave this process only the directories in ``writable``; needs no privilege.

    TCP, foreign abstract sockets and signals to outside go too, where the kernel can.
    The caller has set no_new_privs.

    Returns:
        False when the kernel has no Landlock; the process is then as before.

    Raises:
        OSError: the kernel refused a rule; the caller must not go on.
    """
    version = abi()
    if version == 0:
        return False
    rights = (1 << _FS_RIGHTS_BY_ABI.get(version, _FS_RIGHTS_LATEST)) - 1
    ruleset = _create(version, rights)
    try:
        for path in writable:
            _allow(ruleset, path, rights)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _create(version: int, rights: int) -> int:
    network = 0b11 if version >= _ABI_WITH_NETWORK else 0
    scopes = 0b11 if version >= _ABI_WITH_SCOPES else 0
    attributes = struct.pack("=QQQ", rights, network, scopes)
    size = 8
    if version >= _ABI_WITH_SCOPES:
        size = 24
    elif version >= _ABI_WITH_NETWORK:
        size = 16
    return _checked(_libc.syscall(_CREATE_RULESET, attributes, size, 0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, directory)
        _checked(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(directory)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return result
