"""What a finished job leaves to be kept: a walk through a directory made by an enemy.

Rule: the job's processes are gone, and still no link is followed, no device or pipe
opened, no file taken that has a second name elsewhere, nor one under a name that no
result could carry. What is passed over is reported. Globs are matched a segment at a
time, so no pattern takes exponential time.
"""

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from nunet_node.executors.jobdir import DEPTH_MAX, JobDir, file_mark
from nunet_node.results.errors import PathError
from nunet_node.results.layout import OUTPUTS
from nunet_node.results.paths import PATH_PARTS_MAX, check_path

SKIPPED_MAX: Final = 100
"""Most entries reported as passed over; a person reads no more."""
SHOWN_CHARS_MAX: Final = 200
"""Most of such an entry's path that is reported; a person knows it by then."""
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedFile:
    """One output: ``path`` relative to the job directory, ``source`` where it lies."""

    path: str
    size_bytes: int
    executable: bool
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One entry that matched but cannot be an output, and why."""

    path: str
    reason: Literal["link", "special", "hard-link", "depth", "name", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The outputs of a job, in the order of their paths."""

    files: tuple[CollectedFile, ...]
    skipped: tuple[Skipped, ...]
    skipped_more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsRefused:
    """The outputs exceed what the job agreed to; none is taken."""

    limit: Literal["output_bytes_max", "files_max"]
    allowed: int


@dataclass(slots=True, kw_only=True)
class _Walk:
    job_dir: JobDir
    globs: tuple[tuple[str, ...], ...]
    bytes_max: int
    files_max: int
    files: list[CollectedFile] = field(default_factory=list)
    size_bytes: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    skipped_count: int = 0

    def skip(
        self,
        path: str,
        reason: Literal["link", "special", "hard-link", "depth", "name", "unreadable"],
    ) -> None:
        self.skipped_count += 1
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append(Skipped(path=_printable(path), reason=reason))

    def wanted(self, path: str) -> bool:
        segments = path.split("/")
        return not self.globs or any(_matches(glob, segments) for glob in self.globs)


def collect_outputs(
    job_dir: JobDir, globs: tuple[str, ...], *, bytes_max: int, files_max: int
) -> Collected | OutputsRefused:
    """Find the outputs of a job whose processes are all gone.

    ``globs`` are relative to the job directory; ``**`` stands for any number of
    directories, none included; a name without wildcards stands for a file or for all
    below a directory. Without globs every file counts. Inputs that the job left
    unchanged never count. Blocks: call it in a worker thread.
    """
    walk = _Walk(
        job_dir=job_dir,
        globs=tuple(_segments(glob) for glob in globs),
        bytes_max=bytes_max,
        files_max=files_max,
    )
    # Without privilege the job is its directory's owner, and may have closed it.
    job_dir.path.chmod(0o700)
    top = os.open(job_dir.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _walk_folder(walk, top, "", depth=1)
    finally:
        os.close(top)
    if len(walk.files) > files_max:
        return OutputsRefused(limit="files_max", allowed=files_max)
    if walk.size_bytes > bytes_max:
        return OutputsRefused(limit="output_bytes_max", allowed=bytes_max)
    return Collected(
        files=tuple(sorted(walk.files, key=lambda file: file.path)),
        skipped=tuple(walk.skipped),
        skipped_more=walk.skipped_count - len(walk.skipped),
    )


def _walk_folder(walk: _Walk, folder: int, prefix: str, depth: int) -> None:
    for name, seen in _entries(folder):
        path = prefix + name
        if len(walk.files) > walk.files_max or walk.size_bytes > walk.bytes_max:
            return
        if stat.S_ISDIR(seen.st_mode):
            _walk_below(walk, folder, name, path, depth)
        elif walk.wanted(path):
            _take(walk, folder, name, path)


def _walk_below(walk: _Walk, folder: int, name: str, path: str, depth: int) -> None:
    if depth >= DEPTH_MAX:
        walk.skip(path, "depth")
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        below = os.open(name, flags, dir_fd=folder)
    except OSError:
        walk.skip(path, "unreadable")
        return
    try:
        _walk_folder(walk, below, path + "/", depth + 1)
    finally:
        os.close(below)


def _take(walk: _Walk, folder: int, name: str, path: str) -> None:
    # In a result it lies below a directory, which counts to its depth.
    kept = f"{OUTPUTS}/{path}"
    if kept.count("/") >= PATH_PARTS_MAX:
        walk.skip(path, "depth")
        return
    try:
        check_path(kept)
        # Without waiting: opening a named pipe would block until somebody writes.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        if not stat.S_ISREG(
            os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        ):
            walk.skip(path, _unusual(folder, name))
            return
        descriptor = os.open(name, flags, dir_fd=folder)
    except PathError:
        walk.skip(path, "name")
        return
    except OSError:
        walk.skip(path, "unreadable")
        return
    try:
        _take_open(walk, descriptor, path)
    finally:
        os.close(descriptor)


def _take_open(walk: _Walk, descriptor: int, path: str) -> None:
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode):
        walk.skip(path, "special")
    elif seen.st_nlink != 1:
        walk.skip(path, "hard-link")
    elif walk.job_dir.inputs.get(path) != file_mark(seen):
        walk.size_bytes += seen.st_size
        walk.files.append(
            CollectedFile(
                path=path,
                size_bytes=seen.st_size,
                executable=bool(seen.st_mode & stat.S_IXUSR),
                source=walk.job_dir.path / path,
            )
        )


def _unusual(folder: int, name: str) -> Literal["link", "special"]:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    return "link" if stat.S_ISLNK(mode) else "special"


def _entries(folder: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        yield name, os.stat(name, dir_fd=folder, follow_symlinks=False)


def _segments(glob: str) -> tuple[str, ...]:
    """Split a glob; a name without wildcards reaches below itself as well."""
    parts = [part for part in glob.split("/") if part not in {"", "."}]
    if glob.endswith("/") or not _WILD & set(glob):
        parts.append("**")
    return tuple(parts)


def _matches(glob: tuple[str, ...], segments: list[str]) -> bool:
    """Match by sets of reached places in ``glob``: linear in both, whatever it says."""
    reached = _past_stars(glob, {0})
    for segment in segments:
        stepped = set()
        for place in reached:
            if place < len(glob) and glob[place] == "**":
                stepped.add(place)
            elif place < len(glob) and fnmatch.fnmatchcase(segment, glob[place]):
                stepped.add(place + 1)
        reached = _past_stars(glob, stepped)
    return len(glob) in reached


def _past_stars(glob: tuple[str, ...], places: set[int]) -> set[int]:
    reached = set(places)
    for place, part in enumerate(glob):
        if part == "**" and place in reached:
            reached.add(place + 1)
    return reached


def _printable(path: str) -> str:
    """Return a path that forges nothing on a screen, and fits into a reason."""
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in path)
    return shown if len(shown) <= SHOWN_CHARS_MAX else f"{shown[:SHOWN_CHARS_MAX]}…"
