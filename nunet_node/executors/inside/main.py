"""The child process: read the request, confine, then run or become the guest.

Started by the node with descriptors by role, such as ``order=7``: the request as
JSON on ``order``, and ``status``, on which it says what the node must know. A process
job is replaced by bubblewrap; a WebAssembly module is run here; a compilation is done
here. What went wrong before the guest began is told on ``status``, never on the job's
own output.
"""

import json
import os
import signal
import sys
from typing import Any, Final

from nunet_node.executors.inside import confine, secrets

EXIT_NOT_STARTED: Final = 125
"""Exit status of a child that could not start its guest, as env(1) has it."""

REASON_CHARS_MAX: Final = 1500
"""Longest explanation told; an exception may quote whatever it met."""

Descriptors = dict[str, int]


def main() -> None:
    """Do what the request says; the arguments are descriptors by role."""
    pairs = (argument.split("=", 1) for argument in sys.argv[1:])
    perform({role: int(number) for role, number in pairs})


def perform(fds: Descriptors) -> None:
    """Do what the request on ``fds["order"]`` says; does not return."""
    try:
        with os.fdopen(fds["order"], "rb") as source:
            request: dict[str, Any] = json.load(source)
        confine.die_with(request["parent"])
        confine.join_cgroups(request["cgroup_procs"])
        _perform(request, fds)
    except Exception as error:  # noqa: BLE001 - the parent must hear of any failure
        tell(
            fds["status"],
            {"failed": f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX]},
        )
    os._exit(EXIT_NOT_STARTED)


def tell(status_fd: int, record: dict[str, Any]) -> None:
    """Write one status line for the supervisor."""
    os.write(status_fd, json.dumps(record).encode() + b"\n")


def _perform(request: dict[str, Any], fds: Descriptors) -> None:
    if request["kind"] == "process":
        _become(request, fds)
        return
    # Imported here: a process job must not pay for loading the WebAssembly engine.
    from nunet_node.executors.inside import wasm  # noqa: PLC0415

    if request["kind"] == "compile":
        wasm.compile_module(request, fds, tell)
    else:
        wasm.run(request, fds, tell)


def _become(request: dict[str, Any], fds: Descriptors) -> None:
    if request["gated"]:
        # Imported here: few jobs have a way out.
        from nunet_node.executors.inside import network  # noqa: PLC0415

        network.leave_for(fds["door"], privileged=request["uid"] is not None)
    confine.set_limits(request["limits"])
    confine.drop_user(request["uid"])
    confine.die_with(request["parent"])
    confine.no_new_privileges()
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores these two, and a program inherits what is ignored.
        signal.signal(ignored, signal.SIG_DFL)
    os.chdir("/")
    program = request["program"]
    argv = [program, "--json-status-fd", str(fds["status"])]
    os.set_inheritable(fds["status"], True)
    if "filter" in fds:
        os.set_inheritable(fds["filter"], True)
        argv += ["--seccomp", str(fds["filter"])]
    words = secrets.laid_out(request["argv"], request["secrets"])
    os.execve(program, argv + words, {})  # noqa: S606 - no shell
