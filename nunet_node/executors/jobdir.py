"""A job's own directories and, for a privileged node, its own user.

Rule: the job can write in ``job`` and ``tmp`` and nowhere else; its logs lie beside
them, out of its reach. A node run as root gives every job a user id of its own, held
by a file lock so that two nodes on one machine never share one and a killed node
never keeps one. An id that some process still has is given to no job: the dead count,
too, until somebody waits for them, and all count against RLIMIT_NPROC of the next.
Source: getrlimit(2), getpriority(2).
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from nunet_node.errors import PeerError
from nunet_node.executors.sandbox.cgroups import ControlGroup

JOB_UID_FIRST: Final = 60_600
"""First user id for jobs; systemd leaves 60578 to 61183 unassigned."""
JOB_UIDS_MAX: Final = 500
"""Most jobs at once on one machine with ids of their own."""
NAME_BYTES_MAX: Final = 255
"""Longest name in a path, as Linux file systems have it."""
DEPTH_MAX: Final = 32
"""Deepest directory inside a job; deeper trees hide from walks by path."""
_UID_LOCKS: Final = Path("/run/nunet-node/uids")
_PREFIX: Final = "job-"

FileMark = tuple[int, int, int]
"""Inode, size and change time: a job cannot set the last one back."""


class InputPathError(PeerError):
    """An input names a place outside the job directory, or a place already taken."""

    code: ClassVar[str] = "job.input-path"


class ScratchError(PeerError):
    """The scratch or cache directory cannot be trusted or used."""

    code: ClassVar[str] = "executor.scratch"


@dataclass(slots=True, kw_only=True, eq=False)
class JobDir:
    """The place of one attempt at one job."""

    root: Path
    uid: int | None
    locks: list[int]
    inputs: dict[str, FileMark] = field(default_factory=dict)
    groups: list[ControlGroup] = field(default_factory=list)
    """The control groups that it ran in; they go with it."""

    @property
    def path(self) -> Path:
        """The directory in which the job starts, reads and writes."""
        return self.root / "job"

    @property
    def tmp_path(self) -> Path:
        """The job's TMPDIR; it counts to the disk limit and is never collected."""
        return self.root / "tmp"

    @property
    def stdout_path(self) -> Path:
        """What the job wrote to its standard output so far, up to the log limit."""
        return self.root / "stdout"

    @property
    def stderr_path(self) -> Path:
        """What the job wrote to its standard error so far, up to the log limit."""
        return self.root / "stderr"

    def secrets_place(self) -> Path:
        """Return an empty directory, over which a runner mounts its secrets."""
        place = self.root / "secrets"
        place.mkdir(mode=0o700, exist_ok=True)
        return place

    def add_file(
        self, relpath: str, source: Path | bytes, *, executable: bool = False
    ) -> None:
        """Put an input into the job directory before the job starts.

        Raises:
            InputPathError: the path is absolute, climbs, is too deep or is taken.
            OSError: the source cannot be read or the disk is full.
        """
        with self.writing(relpath, executable=executable) as target:
            if isinstance(source, bytes):
                target.write(source)
            else:
                with source.open("rb") as reader:
                    shutil.copyfileobj(reader, target, 1 << 20)

    @contextlib.contextmanager
    def writing(
        self, relpath: str, *, executable: bool = False, is_input: bool = True
    ) -> Iterator[BinaryIO]:
        """Open a new file in the job directory, which is its job's after the block.

        ``is_input`` False is for an output that another machine brings.

        Raises:
            InputPathError: the path is absolute, climbs, is too deep or is taken.
            OSError: the disk is full.
        """
        mode = 0o700 if executable else 0o600
        with os.fdopen(self._created(relpath, mode), "wb") as target:
            yield target
            target.flush()
            os.fchmod(target.fileno(), mode)
            self._hand_over(target.fileno())
            if is_input:
                self.inputs[relpath] = file_mark(os.fstat(target.fileno()))

    def empty(self) -> None:
        """Remove everything from the job directory, inputs too. Blocks."""
        remove_tree(self.path)
        self.path.mkdir(mode=0o700)
        if self.uid is not None:
            os.chown(self.path, self.uid, self.uid)
        self.inputs.clear()

    def open_file(self, relpath: str) -> int:
        """Open a file below the job directory for reading, following no link.

        Raises:
            InputPathError: the path is not a plain relative one.
            OSError: there is no such file.
        """
        *folders, name = _checked_parts(relpath)
        flags = os.O_RDONLY | os.O_NOFOLLOW
        with self._folder(folders, make=False) as folder:
            return os.open(name, flags, dir_fd=folder)

    def _created(self, relpath: str, mode: int) -> int:
        *folders, name = _checked_parts(relpath)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with self._folder(folders) as folder:
                return os.open(name, flags, mode, dir_fd=folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputPathError(f"{relpath!r} is already taken: {error}") from None

    @contextlib.contextmanager
    def _folder(self, names: list[str], *, make: bool = True) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        current = os.open(self.path, flags)
        try:
            for name in names:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=current)
                below = os.open(name, flags, dir_fd=current)
                os.close(current)
                current = below
                if make:
                    self._hand_over(current)
            yield current
        finally:
            os.close(current)

    def _hand_over(self, descriptor: int) -> None:
        if self.uid is not None:
            os.fchown(descriptor, self.uid, self.uid)


def file_mark(seen: os.stat_result) -> FileMark:
    """Return what changes whenever the content of a file changes."""
    return (seen.st_ino, seen.st_size, seen.st_ctime_ns)


def open_job_dir(scratch: Path) -> JobDir:
    """Make the directories of one attempt, owned by the user it will run as.

    Raises:
        ScratchError: no user id is free, or the job's user could not get there.
    """
    uid: int | None = None
    locks: list[int] = []
    if os.geteuid() == 0:
        _require_reachable(scratch)
        uid, lock = _lease_uid()
        locks = [lock]
    with contextlib.ExitStack() as undo:
        undo.callback(_unlock, locks)
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
        undo.callback(shutil.rmtree, root, ignore_errors=True)
        locks.append(_locked(root))
        job_dir = JobDir(root=root, uid=uid, locks=locks)
        # The job's user passes through but sees neither the names nor the logs.
        root.chmod(0o711 if uid is not None else 0o700)
        for path in (job_dir.path, job_dir.tmp_path):
            path.mkdir(mode=0o700)
            _give(path, uid)
        for path in (job_dir.stdout_path, job_dir.stderr_path):
            path.touch(mode=0o600)
        undo.pop_all()
    return job_dir


def _give(path: Path, uid: int | None) -> None:
    """Make a directory its job's.

    Raises:
        ScratchError: this is the root of a namespace that has no such user.
    """
    if uid is None:
        return
    try:
        os.chown(path, uid, uid)
    except OSError as error:
        raise ScratchError(
            f"this root has no user ids for jobs, such as {uid}: start the node as an "
            f"ordinary user, or in a namespace that has them ({error.strerror})"
        ) from None


def remove_job_dir(job_dir: JobDir) -> None:
    """Delete everything of a job whose processes are gone, and free its user id."""
    remove_tree(job_dir.root)
    while job_dir.groups:
        job_dir.groups.pop().remove_patiently()
    _unlock(job_dir.locks)


def sweep(scratch: Path) -> int:
    """Delete what killed nodes left in a scratch directory; return how many.

    A directory that a living node still uses is locked, and stays.
    """
    removed = 0
    for path in scratch.glob(f"{_PREFIX}*"):
        try:
            lock = _locked(path)
        except OSError:
            continue
        remove_tree(path)
        os.close(lock)
        removed += 1
    return removed


def remove_tree(root: Path) -> None:
    """Delete a directory however deep or closed, without following a link.

    Directories inside directories are moved up to the top first, so neither the depth
    of the recursion nor the length of a path grows with the tree.
    """
    mark = secrets.token_hex(8)
    found = [root]
    for folder in found:
        for name, is_folder in _entries(folder):
            if not is_folder:
                (folder / name).unlink()
                continue
            # Most are empty, and cost one call.
            with contextlib.suppress(OSError):
                (folder / name).rmdir()
                continue
            moved = root / f".removing-{mark}-{len(found)}"
            # The owner of a closed directory may open it again, and must, to move it.
            (folder / name).chmod(0o700)
            (folder / name).rename(moved)
            found.append(moved)
    for folder in reversed(found):
        folder.rmdir()


def _entries(folder: Path) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


def _checked_parts(relpath: str) -> list[str]:
    parts = relpath.split("/")
    if len(parts) > DEPTH_MAX:
        raise InputPathError(f"{relpath!r} is deeper than {DEPTH_MAX}")
    for part in parts:
        if part in {"", ".", ".."} or "\0" in part:
            raise InputPathError(f"{relpath!r} is not a plain relative path")
        if len(part.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
            raise InputPathError(
                f"a name in {relpath!r} exceeds {NAME_BYTES_MAX} bytes"
            )
    return parts


def _unlock(locks: list[int]) -> None:
    while locks:
        os.close(locks.pop())


def _locked(folder: Path) -> int:
    """Lock a directory for as long as the descriptor is open.

    Raises:
        OSError: it is gone, no directory, or locked by a living node.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _lease_uid() -> tuple[int, int]:
    _UID_LOCKS.mkdir(parents=True, exist_ok=True, mode=0o700)
    for uid in range(JOB_UID_FIRST, JOB_UID_FIRST + JOB_UIDS_MAX):
        lock = os.open(_UID_LOCKS / str(uid), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if not _has_processes(uid):
            return uid, lock
        os.close(lock)
    raise ScratchError(f"all {JOB_UIDS_MAX} user ids for jobs are taken")


def _has_processes(uid: int) -> bool:
    """Tell whether a process of ``uid`` is left, be it dead, that we could see."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    return True


def _require_reachable(scratch: Path) -> None:
    real = scratch.resolve()
    for folder in (real, *real.parents):
        if not stat.S_IMODE(folder.stat().st_mode) & 0o001:
            raise ScratchError(f"the users of jobs cannot pass through {folder}")
