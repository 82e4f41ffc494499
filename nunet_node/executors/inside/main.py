"""The child process: read the request, confine, then run or become the guest.

Started by the supervisor with one number, the descriptor that holds the request as
JSON. A process job is replaced by bubblewrap; a WebAssembly module is run here; a
compilation is done here. What went wrong before the guest began is told on the
status descriptor, never on the job's own output.
"""

import json
import os
import signal
import sys
from typing import Any, Final

from nunet_node.executors.inside import confine

EXIT_NOT_STARTED: Final = 125
"""Exit status of a child that could not start its guest, as env(1) has it."""


def main() -> None:
    """Do what the request on the descriptor in ``argv`` says."""
    with os.fdopen(int(sys.argv[1]), "rb") as source:
        request: dict[str, Any] = json.load(source)
    status_fd: int = request["status_fd"]
    try:
        confine.die_with(request["parent"])
        confine.join_cgroups(request["cgroup_procs"])
        _perform(request)
    except Exception as error:  # noqa: BLE001 - the parent must hear of any failure
        tell(status_fd, {"failed": f"{type(error).__name__}: {error}"})
        os._exit(EXIT_NOT_STARTED)


def tell(status_fd: int, record: dict[str, Any]) -> None:
    """Write one status line for the supervisor."""
    os.write(status_fd, json.dumps(record).encode() + b"\n")


def _perform(request: dict[str, Any]) -> None:
    if request["kind"] == "process":
        _become(request)
        return
    # Imported here: a process job must not pay for loading the WebAssembly engine.
    from nunet_node.executors.inside import wasm  # noqa: PLC0415

    if request["kind"] == "compile":
        wasm.compile_module(request, tell)
    else:
        wasm.run(request, tell)


def _become(request: dict[str, Any]) -> None:
    confine.set_limits(request["limits"])
    confine.drop_user(request["uid"])
    confine.die_with(request["parent"])
    confine.no_new_privileges()
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores these two, and a program inherits what is ignored.
        signal.signal(ignored, signal.SIG_DFL)
    os.chdir("/")
    program, status_fd = request["program"], str(request["status_fd"])
    argv = [program, "--json-status-fd", status_fd, *request["argv"]]
    os.execve(program, argv, {})  # noqa: S606 - a list of arguments, no shell
