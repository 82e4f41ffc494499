"""Single values of a job, as a person writes them in a file or an option.

Rule: each is read in one place, so that a job file and the command line take the
same words and refuse the same mistakes with the same sentence.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nunet_node.jobs.job_file.plain_yaml import JobFileError, nearest
from nunet_node.jobs.specification import (
    RETENTION_S_MAX,
    RUN_S_MAX,
    Engine,
    Isolation,
    ResultKind,
    RetryCause,
)
from nunet_node.quantities import (
    QuantityError,
    parse_cpu_millis,
    parse_duration_s,
    parse_size_bytes,
)

NAME_CHARS_MAX: Final = 64
"""Longest name of a job; it becomes a directory's name as well."""

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
OTHER_JOB: Final = "job:"
"""How an input begins that is another job's output; a file so called is ./job:…"""

_URL: Final = re.compile(r"(https?://[^\s#]+)#sha256=([0-9a-f]{64})(?::(.+))?")
ENV_NAME_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInput:
    """A file or a directory, and where it lies in the job's directory."""

    path: str
    """On this machine; or a URL; or ``job:ID/PATH``, an output of another job."""
    dest: str
    sha256: str = ""
    """Of the bytes at a URL, in hexadecimal."""

    @property
    def is_here(self) -> bool:
        """Whether it is a path on this machine."""
        return not self.sha256 and not self.path.startswith(OTHER_JOB)


def parse_input(text: str) -> FileInput:
    """Read ``PATH``, ``URL#sha256=HEX`` or ``job:ID/PATH``; each may have ``:DEST``.

    Raises:
        JobFileError: DEST is absolute, or leaves the job's directory; a URL comes
            without its hash; a job's output has no name.
    """
    path, dest, sha256 = _divided(text)
    dest = dest.removeprefix("./").rstrip("/")
    if not path:
        raise JobFileError(f"{text!r} is not PATH or PATH:DEST")
    if not _is_inside(dest):
        raise JobFileError(
            f"{text!r}: DEST must be a path inside the job's directory; "
            "write PATH:DEST to choose it"
        )
    return FileInput(path=path, dest=dest, sha256=sha256)


def _divided(text: str) -> tuple[str, str, str]:
    """Return where an input is, where it goes, and the hash of what is far away."""
    if text.startswith(("http://", "https://")):
        found = _URL.fullmatch(text)
        if found is None:
            raise JobFileError(f"{text!r}: write URL#sha256=HEX, with the file's hash")
        url, sha256, dest = found.groups()
        return url, dest or base_name(url.partition("?")[0]), sha256
    start = len(OTHER_JOB) if text.startswith(OTHER_JOB) else 0
    path, colon, dest = text[start:].rpartition(":")
    if not colon:
        path, dest = text[start:], base_name(text)
    _, _, inside = path.partition("/")
    if start and not _is_inside(inside):
        raise JobFileError(f"{text!r} is not job:ID/PATH, with an output's path")
    return text[:start] + path, dest, ""


def parse_env(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        JobFileError: there is no ``=``, or the name cannot be a variable's.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise JobFileError(f"{text!r} is not NAME=VALUE")
    check_env_name(name)
    return name, value


def check_env_name(name: str) -> None:
    """Check the name of an environment variable.

    Raises:
        JobFileError: a program could not read it, or the node sets it itself.
    """
    if not re.fullmatch(ENV_NAME_PATTERN, name):
        raise JobFileError(f"{name!r} cannot name an environment variable")
    if name.startswith("NUNET_JOB_"):
        raise JobFileError(f"{name}: the node itself sets NUNET_JOB_ variables")


def parse_output(text: str) -> str:
    """Read an output pattern.

    Raises:
        JobFileError: it could match nothing inside the job's directory.
    """
    glob = text.removeprefix("./")
    if not _is_inside(glob.rstrip("/")):
        raise JobFileError(f"{text!r}: outputs are paths inside the job's directory")
    return glob


def parse_name(text: str) -> str:
    """Read a job's name.

    Raises:
        JobFileError: it could not name a directory, or is too long.
    """
    if not re.fullmatch(NAME_PATTERN, text):
        raise JobFileError(
            f"{text!r} is not a name: {NAME_CHARS_MAX} letters, digits, '.', '_' and "
            "'-' at most, and a letter or digit first"
        )
    return text


def clean_name(text: str) -> str:
    """Return ``text`` as a job's name, or nothing if no letter of it can stay."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:NAME_CHARS_MAX]


def parse_run_s(text: str) -> int:
    """Read how long a job may run or wait, 1 second to 30 days.

    Raises:
        PeerError: it is not a duration, or out of bounds.
    """
    duration_s = parse_duration_s(text)
    if not 1 <= duration_s <= RUN_S_MAX:
        raise JobFileError(f"{text!r} is not between 1s and {RUN_S_MAX // 86400}d")
    return duration_s


def parse_retention_s(text: str) -> int:
    """Read how long a result is kept, 1 second to 366 days.

    Raises:
        PeerError: it is not a duration, or out of bounds.
    """
    duration_s = parse_duration_s(text)
    if not 1 <= duration_s <= RETENTION_S_MAX:
        raise JobFileError(
            f"{text!r} is not between 1s and {RETENTION_S_MAX // 86400}d"
        )
    return duration_s


def parse_some_cpu_millis(text: str) -> int:
    """Read a number of processors above zero, as thousandths.

    Raises:
        QuantityError: it is not one.
    """
    cpu_millis = parse_cpu_millis(text)
    if cpu_millis == 0:
        raise QuantityError("a job needs some of a processor, such as 0.5")
    return cpu_millis


def parse_some_memory_bytes(text: str) -> int:
    """Read an amount of memory above zero, in bytes.

    Raises:
        QuantityError: it is not one.
    """
    memory_bytes = parse_size_bytes(text)
    if memory_bytes == 0:
        raise QuantityError("a job needs some memory, such as 256MiB")
    return memory_bytes


def parse_engine(text: str) -> Engine:
    """Read an engine's name.

    Raises:
        JobFileError: there is no such engine; the nearest is named.
    """
    try:
        return Engine(text)
    except ValueError:
        raise JobFileError(f"no engine {text!r}{nearest(text, Engine)}") from None


def parse_result_kind(text: str) -> ResultKind:
    """Read who can read a result.

    Raises:
        JobFileError: neither sealed nor public.
    """
    try:
        return ResultKind(text)
    except ValueError:
        raise JobFileError(f"results are sealed or public, not {text!r}") from None


def parse_isolation(text: str) -> Isolation:
    """Read a level of isolation.

    Raises:
        JobFileError: there is no such level; the nearest is named.
    """
    try:
        return Isolation(text)
    except ValueError:
        near = nearest(text, Isolation)
        raise JobFileError(f"no isolation {text!r}{near}") from None


def parse_cause(text: str) -> RetryCause:
    """Read an end after which a job may be tried again.

    Raises:
        JobFileError: there is no such cause; the nearest is named.
    """
    try:
        return RetryCause(text)
    except ValueError:
        raise JobFileError(f"no cause {text!r}{nearest(text, RetryCause)}") from None


def parse_truth(text: str) -> bool:
    """Read ``true`` or ``false``.

    Raises:
        JobFileError: it is another word.
    """
    if text not in ("true", "false"):
        raise JobFileError(f"{text!r} is neither true nor false")
    return text == "true"


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise JobFileError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def base_name(path: str) -> str:
    """Return a path's last part."""
    return path.rstrip("/").rpartition("/")[2]


def is_path(image: str) -> bool:
    """Tell whether an image is a file to bring, not the name of one."""
    return image.startswith(("/", "./", "../")) or image.endswith(
        (".tar", ".tar.gz", ".tgz")
    )


def suffix(path: str) -> str:
    """Return the last part's ending with its dot, such as ``.py``; or nothing."""
    stem, dot, ending = base_name(path).rpartition(".")
    return dot + ending.lower() if stem else ""


def _is_inside(path: str) -> bool:
    """Tell whether a relative path stays where it starts."""
    parts = path.split("/")
    return not path.startswith("/") and not {"", ".", ".."} & set(parts)
