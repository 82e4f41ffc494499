"""What each engine asks of the child, and what the child's end means.

Rule: an order's numbers reach every barrier that can hold them: control group,
resource limit, WebAssembly store and supervisor. The runner of a WebAssembly guest
needs memory of its own, which the job is not charged for.
"""

import contextlib
import os
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nunet_node.executors.inside.main import EXIT_NOT_STARTED
from nunet_node.executors.inside.network import PROXY_HOST, PROXY_PORT
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.modules import COMPONENT_SUFFIX
from nunet_node.executors.port import SECRETS_PATH, Limit, RunEnd, RunOrder
from nunet_node.executors.sandbox import bubblewrap, seccomp
from nunet_node.executors.sandbox.cgroups import ControlGroup, GroupLimits
from nunet_node.executors.supervise import Bounds, Watched

RUNNER_MEMORY_BYTES: Final = 160 << 20
"""Memory of the runner itself: interpreter, wasmtime and a compiled CPython."""
PIDS_MAX: Final = 128
"""Most processes and threads of one native job: enough for a parallel build."""
RUNNER_PIDS_MAX: Final = 64
"""Most threads of a runner: wasmtime's file operations use a few."""
OPEN_FILES_MAX: Final = 256
"""Most open files of one process; each can hold unnamed disk space."""
ADDRESS_SPACE_FACTOR: Final = 2
ADDRESS_SPACE_ALLOWANCE_BYTES: Final = 256 << 20
"""Programs reserve far more addresses than they use; without a control group this
only slows a memory bomb down until the supervisor has seen it."""
PYTHON_PATH: Final = "PYTHONPATH"
PACKAGES_FOLDER: Final = "site-packages"
"""A directory of this name among the inputs is where a script finds packages."""
PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""Where programs look for a proxy; most know only the one spelling or the other."""
EXIT_NOT_FOUND: Final = 127
"""Exit code of a command that could not be started, as shells have it."""

_SIGNALLED: Final = 128
_SIGKILL, _SIGXCPU, _SIGXFSZ = 9, 24, 25


def environment(order: RunOrder, home: str) -> list[tuple[str, str]]:
    """Return every variable the job sees; none comes from the host."""
    return [
        ("PATH", bubblewrap.SEARCH_PATH),
        ("HOME", home),
        ("TMPDIR", bubblewrap.TMP_PATH),
        ("LANG", "C.UTF-8"),
        ("NUNET_JOB_ID", order.job),
        ("NUNET_JOB_ENGINE", order.engine),
        *([("NUNET_JOB_SECRETS", SECRETS_PATH)] if order.secrets else []),
        *(_proxy_variables() if order.domains else ()),
        *order.env,
    ]


def _proxy_variables() -> list[tuple[str, str]]:
    """Return what leads programs to the job's proxy, for every host there is."""
    proxy = f"http://{PROXY_HOST}:{PROXY_PORT}"
    return [(name, proxy) for name in PROXY_VARIABLES] + [("no_proxy", "")]


def bounds(order: RunOrder, program: Path) -> Bounds:
    """Return what the supervisor enforces for ``order``."""
    return Bounds(
        wall_s=order.wall_s,
        memory_bytes=memory_bytes(order, program),
        disk_bytes=order.disk_bytes,
        log_bytes_max=order.log_bytes_max,
        files_max=order.files_max,
        cpu_ms=cpu_s(order) * 1000,
    )


def cpu_s(order: RunOrder) -> int:
    """Return how much processor time the order is good for, and a second more.

    A job that shares a processor still has all of it at times.
    """
    return order.wall_s * max(1000, order.cpu_millis) // 1000 + 1


def memory_bytes(order: RunOrder, program: Path) -> int:
    """Return what the whole tree may hold, the runner's own memory included.

    ``program`` is the compiled module, which is read and then mapped.
    """
    if order.engine == "process":
        return order.memory_bytes
    compiled = 0 if order.engine == "python" else 2 * program.stat().st_size
    return order.memory_bytes + RUNNER_MEMORY_BYTES + compiled


def group_limits(order: RunOrder, program: Path) -> GroupLimits:
    """Return what the control group of ``order`` holds, the runner included."""
    return GroupLimits(
        memory_bytes=memory_bytes(order, program),
        pids=pids_max(order),
        cpu_millis=order.cpu_millis,
    )


def pids_max(order: RunOrder) -> int:
    """Return how many processes and threads the whole tree may have."""
    return PIDS_MAX if order.engine == "process" else RUNNER_PIDS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the supervisor starts: the child's request and its barriers by name."""

    request: dict[str, Any]
    barriers: tuple[str, ...]
    given: dict[str, int] = field(default_factory=dict)


def launch(  # noqa: PLR0913 - each is a different party to the run
    order: RunOrder,
    job_dir: JobDir,
    program: Path,
    stack: contextlib.ExitStack,
    group: ControlGroup | None,
    root: Path | None = None,
    *,
    door: int | None = None,
) -> Launch:
    """Return how to start ``order`` on ``program``: bubblewrap or a compiled module.

    ``stack`` closes descriptors that only the child needs. ``root`` is the root file
    system that a process brought, ``door`` where its box hands over the socket on which
    its proxy listens.
    """
    if order.engine == "process":
        return _process_launch(order, job_dir, program, stack, group, root, door=door)
    return _wasm_launch(order, job_dir, program, group)


def _wasm_launch(
    order: RunOrder, job_dir: JobDir, module: Path, group: ControlGroup | None
) -> Launch:
    python = order.engine == "python"
    job, tmp = str(job_dir.path), str(job_dir.tmp_path)
    told = [str(job_dir.secrets_place())] if order.secrets else []
    request = {
        "kind": "wasm",
        "module": str(module),
        "trusted": python,
        "component": module.name.endswith(COMPONENT_SUFFIX),
        # -u: what is printed is seen at once; -B: no compiled files in the outputs.
        "argv": ["python", "-u", "-B", *order.argv] if python else list(order.argv),
        "env": [
            *environment(order, bubblewrap.JOB_PATH),
            *(_python_path(order, job_dir) if python else ()),
        ],
        # WASI has no working directory: libc looks relative names up below ".".
        "directories": [
            (job, bubblewrap.JOB_PATH),
            (job, "."),
            (tmp, bubblewrap.TMP_PATH),
            *((place, SECRETS_PATH) for place in told),
        ],
        "secrets": _secrets(order),
        "secrets_place": "".join(told),
        "memory_bytes": order.memory_bytes,
        "writable": [job, tmp, *told],
        "seccomp": seccomp.runner_filter().hex(),
        "limits": _limits(order, job_dir),
    }
    return Launch(request=request, barriers=("wasm", *_grouped(group)))


def _python_path(order: RunOrder, job_dir: JobDir) -> list[tuple[str, str]]:
    """Return where a script finds what was brought for it, beside its own directory.

    A wheel is imported as it is: Python reads what is zipped. The job's own words on
    the matter come first.
    """
    own = [value for name, value in order.env if name == PYTHON_PATH]
    tops = {path.partition("/")[0] for path in job_dir.inputs}
    brought = [
        f"{bubblewrap.JOB_PATH}/{top}"
        for top in sorted(tops)
        if top.endswith(".whl") or top == PACKAGES_FOLDER
    ]
    return [(PYTHON_PATH, ":".join((*own, *brought)))] if brought else []


def _process_launch(  # noqa: PLR0913 - as `launch`
    order: RunOrder,
    job_dir: JobDir,
    bwrap: Path,
    stack: contextlib.ExitStack,
    group: ControlGroup | None,
    root: Path | None,
    *,
    door: int | None,
) -> Launch:
    program = seccomp.native_filter(hidden_memory=group is not None)
    given = {"filter": _readable(program, stack)} if program else {}
    given |= {} if door is None else {"door": door}
    limits = _limits(order, job_dir)
    if group is None and not order.nodes:
        # A driver reserves addresses for all the memory there is, its own included.
        space = order.memory_bytes * ADDRESS_SPACE_FACTOR
        limits["RLIMIT_AS"] = space + ADDRESS_SPACE_ALLOWANCE_BYTES
    request = {
        "kind": "process",
        "program": str(bwrap),
        "argv": bubblewrap.options(
            work=job_dir.path,
            tmp=job_dir.tmp_path,
            env=environment(order, bubblewrap.JOB_PATH),
            argv=order.argv,
            root=root,
            devices=order.nodes,
            secrets=bool(order.secrets),
            gated=door is not None,
        ),
        "secrets": _secrets(order),
        "gated": door is not None,
        "limits": limits,
    }
    barriers = ["bwrap"]
    barriers += ["uid"] if job_dir.uid is not None else []
    barriers += ["seccomp"] if program else []
    return Launch(
        request=request,
        barriers=(*barriers, *_grouped(group)),
        given=given,
    )


def _secrets(order: RunOrder) -> list[tuple[str, str]]:
    """Return the secrets as a request carries them, in a file of memory."""
    return [(name, b64encode(value).decode()) for name, value in order.secrets]


def ending(order: RunOrder, launch: Launch, watched: Watched) -> RunEnd:
    """Say what a finished child means for the job; reads its control group."""
    exit_code, reason = _exit(order, watched)
    limit = watched.limit or _limit_of(watched, exit_code)
    achieved = (*launch.barriers, *(watched.heard.started or ()))
    return RunEnd(
        exit_code=exit_code if watched.limit is None else None,
        limit=limit,
        reason=reason if limit is None else watched.why or LIMIT_REASONS[limit],
        usage=watched.usage(),
        isolation="+".join(achieved),
        stdout_truncated="stdout" in watched.truncated,
        stderr_truncated="stderr" in watched.truncated,
    )


def _grouped(group: ControlGroup | None) -> tuple[str, ...]:
    return () if group is None else ("cgroup",)


def _readable(program: bytes, stack: contextlib.ExitStack) -> int:
    descriptor = os.memfd_create("filter")
    stack.callback(os.close, descriptor)
    os.write(descriptor, program)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


LIMIT_REASONS: Final[dict[Limit, str]] = {
    "wall": "it ran longer than wall_s",
    "memory": "its processes held more than memory_bytes",
    "disk": "it wrote more than disk_bytes",
    "files": "it made more files than files_max",
    "log": "it wrote more than log_bytes_max to its output streams",
    "cpu": "it used all the processor time of the order",
    "cancelled": "it was cancelled",
    "lost": "the machine that ran it went away",
}
"""What each limit means to a person."""


def _exit(order: RunOrder, watched: Watched) -> tuple[int | None, str | None]:
    heard, returncode = watched.heard, watched.returncode
    if (why := _failure(order, watched)) is not None:
        return None, why
    if returncode < 0:
        # The child itself, bubblewrap or the runner, was killed.
        return _SIGNALLED - returncode, None
    if order.engine != "process":
        if heard.exit is None:
            return None, "the runner ended without a result"
        return heard.exit, heard.reason
    if heard.box_exit is None:
        return EXIT_NOT_FOUND, "the command could not be started; see its error stream"
    return heard.box_exit, None


def _failure(order: RunOrder, watched: Watched) -> str | None:
    """Return why the guest did not run, or not to an end of its own or a limit's."""
    if watched.fault is not None:
        return watched.fault
    if watched.heard.failed is not None:
        return f"not started: {watched.heard.failed}"
    boxed = order.engine == "process" and watched.returncode >= 0
    if not watched.started and (boxed or watched.returncode == EXIT_NOT_STARTED):
        return "not started: the sandbox failed; see its error stream"
    return None


def _limit_of(watched: Watched, exit_code: int | None) -> Limit | None:
    """Recognise the limits that the kernel enforced by itself."""
    if (limit := limit_of_exit(exit_code)) is not None:
        return limit
    if exit_code == 0 or watched.group is None:
        return None
    return "memory" if watched.group.oom_kills() else None


def limit_of_exit(exit_code: int | None) -> Limit | None:
    """Return the limit whose signal an exit code stands for, if it does."""
    if exit_code == _SIGNALLED + _SIGXCPU:
        return "cpu"
    return "disk" if exit_code == _SIGNALLED + _SIGXFSZ else None


def _limits(order: RunOrder, job_dir: JobDir) -> dict[str, int]:
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": cpu_s(order),
        # A byte more, so that what was stopped here is seen to be too much.
        "RLIMIT_FSIZE": order.disk_bytes + 1,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NICE": 0,
        "RLIMIT_NOFILE": OPEN_FILES_MAX,
        "RLIMIT_NPROC": _process_limit(job_dir, pids_max(order)),
        "RLIMIT_RTPRIO": 0,
    }


def _process_limit(job_dir: JobDir, own_max: int) -> int:
    """Return RLIMIT_NPROC, which counts every process of one user id."""
    if job_dir.uid is not None:
        return own_max
    return own_max + _threads_of(os.geteuid())


def _threads_of(uid: int) -> int:
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                total += sum(1 for _ in (process / "task").iterdir())
        except OSError:
            continue
    return total
