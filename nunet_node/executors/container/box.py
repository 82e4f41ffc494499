"""The container that a job gets, and whether the engine really made it so.

Rule: nothing is taken on trust. What was asked for is compared with what the engine
says it made and, where the kernel shows the process, with what the kernel says; a
container that falls short is killed. Sources: Docker Engine API 1.41; proc(5).
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from nunet_node.executors.container.api import Made
from nunet_node.executors.engines import (
    OPEN_FILES_MAX,
    PIDS_MAX,
    cpu_s,
    environment,
)
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import RunOrder
from nunet_node.executors.sandbox.bubblewrap import (
    JOB_PATH,
    SHARED_MEMORY_BYTES_MAX,
    TMP_PATH,
)
from nunet_node.executors.sandbox.seccomp import native_document

Document = dict[str, Any]
LABEL: Final = "nunet-node"
FILTER: Final = "seccomp.json"
NO_LIMIT: Final = 2**63
"""What a control group without a limit allows."""
_FILTERED: Final = "2"
"""What the kernel says of a process whose system calls a filter sees."""
_NANO_PER_MILLI: Final = 1_000_000


def document(
    order: RunOrder, job_dir: JobDir, image: str, *, rootless: bool, filtered: str
) -> dict[str, Any]:
    """Return what to ask of the engine for one run.

    ``filtered`` is the filter of system calls, as `filter_for` has it.
    """
    uid = os.geteuid() if job_dir.uid is None else job_dir.uid
    host = {
        "NetworkMode": "none",
        "IpcMode": "private",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={filtered}"],
        "ReadonlyRootfs": True,
        "Memory": order.memory_bytes,
        "MemorySwap": order.memory_bytes,
        "PidsLimit": PIDS_MAX,
        "NanoCpus": order.cpu_millis * _NANO_PER_MILLI,
        "Devices": [_device(node) for node in order.nodes],
        "ShmSize": SHARED_MEMORY_BYTES_MAX,
        "LogConfig": {"Type": "none"},
        "Ulimits": [
            _limit("core", 0),
            _limit("cpu", cpu_s(order)),
            _limit("fsize", order.disk_bytes + 1),
            _limit("msgqueue", 0),
            _limit("nice", 0),
            _limit("nofile", OPEN_FILES_MAX),
            _limit("nproc", PIDS_MAX),
            _limit("rtprio", 0),
        ],
        "Mounts": [
            _mount(job_dir.path, JOB_PATH),
            _mount(job_dir.tmp_path, TMP_PATH),
        ],
    }
    if rootless:
        # Our own user stays the same inside, so that it can write the directory.
        host["UsernsMode"] = "keep-id"
    return {
        "Image": image,
        "Entrypoint": [],
        "Cmd": list(order.argv),
        "Env": [f"{name}={value}" for name, value in environment(order, JOB_PATH)],
        "WorkingDir": JOB_PATH,
        "User": f"{uid}:{uid}",
        "Hostname": "job",
        "Labels": {LABEL: label_of(job_dir)},
        "HostConfig": host,
    }


def filter_for(job_dir: JobDir, *, podman: bool) -> str:
    """Return the filter that a native program gets, as an engine takes it.

    Podman reads a file, which lies out of the job's sight; others take its content.
    """
    content = json.dumps(native_document())
    if not podman:
        return content
    place = job_dir.root / FILTER
    place.write_text(content)
    return str(place)


def label_of(job_dir: JobDir) -> str:
    """Return by what a later start of the same node finds a container again."""
    return str(job_dir.root.parent)


def shortcomings(asked: dict[str, Any], made: Made) -> tuple[str, ...]:
    """Return what the engine says it did not do as asked."""
    wanted, got = asked["HostConfig"], made.host
    exact = ("NetworkMode", "ReadonlyRootfs", "Memory", "PidsLimit")
    short = [name for name in exact if got.get(name) != wanted[name]]
    short += ["Privileged"] if got.get("Privileged") else []
    short += ["CapAdd"] if got.get("CapAdd") else []
    if made.config.get("User") != asked["User"]:
        short.append("User")
    return tuple(short)


def shown_by_kernel(pid: int, memory_bytes: int) -> tuple[str, ...]:
    """Return what the kernel shows to be missing; nothing if the process is gone.

    Args:
        pid: the container's first process as this machine numbers it.
        memory_bytes: what its control group has to allow at most.
    """
    status = _status(pid)
    if not status:
        return ()
    short = [] if int(status["CapEff"], 16) == 0 else ["capabilities"]
    short += [] if status["NoNewPrivs"] == "1" else ["no-new-privileges"]
    short += [] if status["Seccomp"] == _FILTERED else ["a filter of system calls"]
    short += [] if status["Uid"].split()[1] != "0" else ["a user that is not root"]
    if _same_network(pid):
        short.append("a network of its own")
    limit = _memory_limit(pid)
    if limit is not None and limit > memory_bytes:
        short.append("the memory limit")
    # What was read while the process ended says nothing of how it lived.
    return tuple(short) if _status(pid) else ()


def _same_network(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() == _own_network()
    except OSError:
        return False


def _own_network() -> Path:
    return Path("/proc/self/ns/net").readlink()


def _memory_limit(pid: int) -> int | None:
    """Return the limit of the process's control group; None if it cannot be seen."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        paths = dict(line.split(":", 2)[1:] for line in lines)
        if "memory" in paths:
            at, name = f"/sys/fs/cgroup/memory{paths['memory']}", "limit_in_bytes"
        else:
            at, name = f"/sys/fs/cgroup{paths['']}", "max"
        text = Path(at, f"memory.{name}").read_text().strip()
    except (OSError, KeyError):
        # A group is taken down with the last of its processes.
        return None
    return int(text) if text.isdigit() else NO_LIMIT


def _status(pid: int) -> dict[str, str]:
    """Return what the kernel tells of a living process; nothing of a dead one."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    status = {name: value.strip() for name, _, value in pairs}
    return {} if status.get("State", "Z")[0] in "ZX" else status


def _device(node: str) -> dict[str, str]:
    return {"PathOnHost": node, "PathInContainer": node, "CgroupPermissions": "rw"}


def _limit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def _mount(source: Path, target: str) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(source),
        "Target": target,
        "ReadOnly": False,
    }
