"""Give up everything a guest must not have, in the order that keeps it given up.

The order matters. Limits come before the uid changes, because lowering them needs
no privilege but some hosts forbid raising them. The parent-death signal is set again
after the uid changes, because the kernel clears it then; `getppid` afterwards closes
the race with a parent that is already gone. The system-call filter comes last,
because it forbids what the other steps need. Source: prctl(2), setresuid(2),
seccomp(2).
"""

import contextlib
import ctypes
import os
import resource
import signal
from typing import Any, Final

from nunet_node.executors.inside import landlock

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of seccomp(2)."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` dies, even by SIGKILL."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def made_cgroups(places: list[str]) -> bool:
    """Make control groups for a job; tell whether we were let."""
    try:
        for place in places:
            os.mkdir(place)  # noqa: PTH102 - no pathlib: start-up time
    except OSError:
        return False
    return True


def join_cgroups(procs_files: list[str]) -> None:
    """Move this process into the control groups made for the job."""
    for name in procs_files:
        # A file of text would have each child load a codec: a millisecond of work.
        procs = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(procs, b"0")
        finally:
            os.close(procs)


def set_limits(limits: dict[str, int]) -> None:
    """Lower resource limits, named as in `resource`, never above the hard limit."""
    for name, wanted in limits.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def drop_user(uid: int | None) -> None:
    """Become the job's own user for good; None keeps the (unprivileged) user."""
    if uid is None:
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def no_new_privileges() -> None:
    """Make set-user-id programs powerless from here on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def confine(request: dict[str, Any]) -> list[str]:
    """Give up the network, files, users and system calls as ``request`` orders.

    Returns:
        The names of the barriers that now hold, for the isolation label.

    Raises:
        OSError: a barrier was refused halfway; the caller must not run the guest.
    """
    achieved = []
    program = bytes.fromhex(request["seccomp"])
    if not program:
        with contextlib.suppress(OSError):
            leave_network(privileged=request["uid"] is not None)
            achieved.append("netns")
    set_limits(request["limits"])
    drop_user(request["uid"])
    if request["uid"] is not None:
        achieved.append("uid")
    die_with(request["parent"])
    no_new_privileges()
    if landlock.restrict(request["writable"]):
        achieved.append("landlock")
    if program:
        _filter_system_calls(program)
        achieved.append("seccomp")
    return achieved


def leave_network(*, privileged: bool) -> None:
    """Enter an empty network, by a user namespace unless this is root.

    Raises:
        OSError: it was refused.
    """
    flags = _CLONE_NEWNET if privileged else _CLONE_NEWNET | _CLONE_NEWUSER
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare {flags:#x}: {os.strerror(number)}")


def _filter_system_calls(program: bytes) -> None:
    text = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.addressof(text))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described))


def _prctl(option: int, *values: int) -> None:
    words = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
