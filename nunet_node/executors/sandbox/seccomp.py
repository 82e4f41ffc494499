"""System-call filters, built once in the node and handed to children as bytes.

A deny list for native programs, which need most of Linux; a stricter one for the
WebAssembly runner, which never starts programs and never opens a socket. libseccomp
is optional: without it a filter is empty and the isolation label leaves the word
out. Container engines get the first as a document. Rule: an argument is compared in
the half that the kernel reads, because a program may put anything into the other.
Source: seccomp(2), the list of calls that container runtimes deny, and the Linux
section of the runtime specification of the Open Container Initiative.
"""

import contextlib
import errno
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final

_NEVER: Final = (  # noqa: SIM905 - a table of words
    "acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module "
    "fanotify_init finit_module fsconfig fsmount fsopen fspick init_module "
    "io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp "
    "kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages "
    "modify_ldt mount mount_setattr move_mount move_pages name_to_handle_at "
    "nfsservctl open_by_handle_at open_tree perf_event_open personality pidfd_getfd "
    "pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl "
    "quotactl_fd reboot request_key set_mempolicy setdomainname sethostname setns "
    "settimeofday swapoff swapon syslog umount2 unshare userfaultfd vhangup vm86"
).split()
"""Calls no job has an honest use for; each has been a way into a kernel."""

_HIDDEN_MEMORY: Final = ["memfd_create", "memfd_secret", "shmget"]
"""Calls that make memory which no process's resident size shows."""

_RUNNER_NEVER: Final = (  # noqa: SIM905 - a table of words
    "execve execveat fork vfork socket socketpair connect bind listen accept "
    "accept4 sendto sendmsg sendmmsg recvmsg memfd_create shmget mknod mknodat "
    "chmod fchmodat chown fchown fchownat lchown setuid setresuid setgid setresgid "
    "setgroups"
).split()
"""Calls that no WASI host function makes."""

_NAMESPACES: Final = (
    0x10000000,  # user
    0x00020000,  # mount
    0x40000000,  # network
    0x20000000,  # pid
    0x08000000,  # ipc
    0x04000000,  # uts
    0x02000000,  # cgroup
)
_THREAD: Final = 0x00010000
_TERMINAL_INJECTIONS: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: typing into the terminal of whoever started the node."""
_SOCKET_FAMILIES: Final = (*range(3, 10), *range(11, 64))
"""All but Unix and the two of the Internet. Netlink, packets, kernel crypto, sockets
to virtual machines and Bluetooth reach past a network namespace."""
_KEEP_SIZE: Final = 0x1
_PUNCH_HOLE: Final = 0x2
"""Ways of fallocate(2). What is kept beyond the end of a file is on the disk, and no
limit on the size of a file holds it; only a hole is made with both."""
_SOCKET_LEVEL: Final = 1
_SEND_BUFFER: Final = 7
"""SO_SNDBUF: how much may wait in a socket, where only its default can be counted."""
_UNHEARD_OF: Final = (*range(457, 462), 467, *range(470, 512))
"""Calls about mounts, security modules and namespaces that are newer than libseccomp,
and those that no kernel had yet: one number on every architecture since 424. Source:
Linux, scripts/syscall.tbl."""
_INT: Final = 0xFFFFFFFF
"""The half of a register that an argument of type int is read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arg:
    """What an argument is, as far as the mask shows it."""

    position: int
    value: int
    mask: int = _INT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Denied:
    """Calls by name, or by number; with arguments, only when all of them match."""

    calls: tuple[str | int, ...]
    error: int = errno.EPERM
    args: tuple[_Arg, ...] = ()


_OF_BOTH: Final = (
    _Denied(calls=tuple(_NEVER)),
    _Denied(calls=_UNHEARD_OF, error=errno.ENOSYS),
    # Its flags lie in memory, out of a filter's sight; libc falls back to clone.
    _Denied(calls=("clone3",), error=errno.ENOSYS),
    _Denied(
        calls=("fallocate",),
        error=errno.EOPNOTSUPP,
        args=(_Arg(position=1, value=_KEEP_SIZE, mask=_KEEP_SIZE | _PUNCH_HOLE),),
    ),
)
_NATIVE: Final = (
    *_OF_BOTH,
    *(
        _Denied(calls=("clone",), args=(_Arg(position=0, value=flag, mask=flag),))
        for flag in _NAMESPACES
    ),
    *(
        _Denied(calls=("ioctl",), args=(_Arg(position=1, value=request),))
        for request in _TERMINAL_INJECTIONS
    ),
    *(
        _Denied(
            calls=("socket",),
            error=errno.EAFNOSUPPORT,
            args=(_Arg(position=0, value=family),),
        )
        for family in _SOCKET_FAMILIES
    ),
)
_UNCOUNTED: Final = (
    _Denied(calls=tuple(_HIDDEN_MEMORY)),
    _Denied(
        calls=("setsockopt",),
        args=(
            _Arg(position=1, value=_SOCKET_LEVEL),
            _Arg(position=2, value=_SEND_BUFFER),
        ),
    ),
)
_RUNNER: Final = (
    *_OF_BOTH,
    _Denied(calls=tuple(_RUNNER_NEVER)),
    # A clone that is no thread is a fork.
    _Denied(calls=("clone",), args=(_Arg(position=0, value=0, mask=_THREAD),)),
)


@cache
def native_filter(*, hidden_memory: bool) -> bytes:
    """Return the filter for native programs; empty without libseccomp.

    With ``hidden_memory`` False it also denies what only a control group could
    account for: memory of no process, and long queues in sockets.
    """
    return _built(_NATIVE if hidden_memory else (*_NATIVE, *_UNCOUNTED))


@cache
def runner_filter() -> bytes:
    """Return the filter for the WebAssembly runner; empty without libseccomp."""
    return _built(_RUNNER)


def native_document() -> dict[str, Any]:
    """Return the filter for native programs as container engines read it.

    Calls without a name are left out: an engine knows none by their numbers.
    """
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": [call for call in rule.calls if isinstance(call, str)],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": rule.error,
                "args": [
                    {
                        "index": arg.position,
                        "op": "SCMP_CMP_MASKED_EQ",
                        "value": arg.mask,
                        "valueTwo": arg.value,
                    }
                    for arg in rule.args
                ],
            }
            for rule in _NATIVE
            if isinstance(rule.calls[0], str)
        ],
    }


def _built(denied: Iterable[_Denied]) -> bytes:
    library = _library()
    if library is None:
        return b""
    rules = library.SyscallFilter(library.ALLOW)
    for rule in denied:
        args = [
            library.Arg(arg.position, library.MASKED_EQ, arg.mask, arg.value)
            for arg in rule.args
        ]
        for call in rule.calls:
            # A call unknown to this architecture or libseccomp needs no denying: it is
            # none here, or it is new and stands by its number.
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                rules.add_rule(library.ERRNO(rule.error), call, *args)
    with tempfile.TemporaryFile() as target:
        rules.export_bpf(target)
        target.seek(0)
        return target.read()


def _library() -> ModuleType | None:
    try:
        import pyseccomp  # noqa: PLC0415 - optional: it needs a C library
    except (ImportError, OSError, RuntimeError):
        return None
    found: ModuleType = pyseccomp
    return found
