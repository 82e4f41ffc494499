"""Whether secrets can be shown to one job alone here, found out by doing it.

Rule: what was not seen to work is not offered, and nothing here fails a node.
"""

import os
import subprocess
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import Capability
from nunet_node.executors.probing.examine import Runner
from nunet_node.executors.ready import run_inside

TRIED_S: Final = 10
"""Longest try; it takes some 50 ms, most of it to start the child."""


def shows_secrets(found: Capability, *, mounts: bool) -> bool:
    """Tell whether an engine can show a job secrets that nobody else sees.

    Args:
        found: what is known of the engine.
        mounts: whether a runner can mount secrets for itself.
    """
    if found.engine == "process":
        return found.ready
    # Whoever makes a container sees all that is mounted in it, or keeps it.
    return mounts and found.engine != "container"


async def can_mount(runner: Runner) -> bool:
    """Tell whether a runner of modules can mount secrets for itself; raises nothing."""
    try:
        job_dir = await runner.open_job("probe", 1)
        try:
            return await _mounted(job_dir)
        finally:
            await runner.remove(job_dir)
    except (PeerError, OSError):
        return False


async def _mounted(job_dir: JobDir) -> bool:
    place = str(job_dir.secrets_place())
    uid = "" if job_dir.uid is None else str(job_dir.uid)
    null = subprocess.DEVNULL
    child = run_inside("secrets", (place, uid), (), stdout=null, stderr=null)
    handle = os.pidfd_open(child.pid)
    try:
        with trio.move_on_after(TRIED_S):
            await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)
        # Killing what has ended does nothing, and then waiting takes no time.
        child.kill()
        child.wait()
    return child.returncode == 0
