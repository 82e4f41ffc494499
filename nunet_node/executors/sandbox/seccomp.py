"""System-call filters, built once in the node and handed to children as bytes.

A deny list for native programs, which need most of Linux; a stricter one for the
WebAssembly runner, which never starts programs and never opens a socket. libseccomp
is optional: without it a filter is empty and the isolation label leaves the word
out. Source: seccomp(2), and the list of calls that container runtimes deny.
"""

import contextlib
import errno
import tempfile
from functools import cache
from types import ModuleType
from typing import Final

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
_SOCKET_FAMILIES: Final = (16, 17, 38, 40)
"""Netlink, packet, kernel crypto and vsock: they reach past a network namespace."""


@cache
def native_filter(*, hidden_memory: bool) -> bytes:
    """Return the filter for native programs; empty without libseccomp.

    With ``hidden_memory`` False it also denies memory that only a control group
    could account for.
    """
    library = _library()
    if library is None:
        return b""
    rules = library.SyscallFilter(library.ALLOW)
    _deny(library, rules, _NEVER if hidden_memory else (*_NEVER, *_HIDDEN_MEMORY))
    # Its flags lie in memory, out of a filter's sight; libc falls back to clone.
    rules.add_rule(library.ERRNO(errno.ENOSYS), "clone3")
    for flag in _NAMESPACES:
        _deny_masked(library, rules, ("clone", 0), flag, flag)
    for request in _TERMINAL_INJECTIONS:
        _deny_masked(library, rules, ("ioctl", 1), 0xFFFFFFFF, request)
    for family in _SOCKET_FAMILIES:
        is_family = library.Arg(0, library.EQ, family)
        rules.add_rule(library.ERRNO(errno.EAFNOSUPPORT), "socket", is_family)
    return _exported(rules)


@cache
def runner_filter() -> bytes:
    """Return the filter for the WebAssembly runner; empty without libseccomp."""
    library = _library()
    if library is None:
        return b""
    rules = library.SyscallFilter(library.ALLOW)
    _deny(library, rules, (*_NEVER, *_RUNNER_NEVER))
    rules.add_rule(library.ERRNO(errno.ENOSYS), "clone3")
    # A clone that is no thread is a fork.
    _deny_masked(library, rules, ("clone", 0), _THREAD, 0)
    return _exported(rules)


def _library() -> ModuleType | None:
    try:
        import pyseccomp  # noqa: PLC0415 - optional: it needs a C library
    except (ImportError, OSError, RuntimeError):
        return None
    found: ModuleType = pyseccomp
    return found


def _deny(
    library: ModuleType, rules: object, names: list[str] | tuple[str, ...]
) -> None:
    for name in names:
        # A call unknown to this architecture or libseccomp needs no denying.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            rules.add_rule(library.ERRNO(errno.EPERM), name)  # type: ignore[attr-defined]


def _deny_masked(
    library: ModuleType, rules: object, where: tuple[str, int], mask: int, value: int
) -> None:
    call, position = where
    matches = library.Arg(position, library.MASKED_EQ, mask, value)
    rules.add_rule(library.ERRNO(errno.EPERM), call, matches)  # type: ignore[attr-defined]


def _exported(rules: object) -> bytes:
    with tempfile.TemporaryFile() as target:
        rules.export_bpf(target)  # type: ignore[attr-defined]
        target.seek(0)
        return target.read()
