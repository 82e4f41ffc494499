"""A real Slurm on this machine: munge, a controller, and two machines of our own."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from nunet_node.executors.cluster.slurm import SlurmCluster
from tests.cluster.daemons import daemon, family, free_ports, kill, wait_for

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo", "scontrol", "scancel")
CPUS = {"n1": 1, "n2": 2}
"""The machines; only the second can hold a job of two processors."""

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={top}/munge/socket
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={top}/state
SlurmdSpoolDir={top}/spool-%n
SlurmctldPidFile={top}/controller.pid
SlurmdPidFile={top}/%n.pid
SlurmctldLogFile={top}/controller.log
SlurmdLogFile={top}/%n.log
ProctrackType=proctrack/{tracking}
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdTimeout=15
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1500 TmpDisk=4000 Gres=gpu:T4:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1500 TmpDisk=4000 Gres=gpu:A100:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=120 MaxMemPerNode=1400 State=UP
"""
_GPUS = """\
NodeName=n1 Name=gpu Type=T4 File=/dev/null
NodeName=n2 Name=gpu Type=A100 File=/dev/null
NodeName=n2 Name=gpu Type=A100 File=/dev/zero
"""
"""Slurm asks only that there are nodes, whatever they lead to."""


def missing() -> list[str]:
    """Return the programs that are not here."""
    return [name for name in COMMANDS if shutil.which(name, path=_path()) is None]


class Slurm:
    """The cluster; `slurm` makes it."""

    backend = "slurm"
    largest_cpus = 2
    cpus = 3

    def __init__(self, top: Path, stack: contextlib.ExitStack) -> None:
        self.top = top
        self._stack = stack
        self.machines: dict[str, subprocess.Popen[bytes]] = {}
        self.adapter = SlurmCluster()

    def settings(self) -> str:
        return 'partition = "main"'

    def start(self, name: str) -> None:
        log = self.top / f"{name}.out"
        running = daemon("slurmd", "-D", "-N", name, log=log, env=self.environment())
        self.machines[name] = self._stack.enter_context(running)

    def lose_power(self, process: psutil.Process) -> None:
        """Kill the machine on which a process runs, and everything on it."""
        above = [each for each in process.parents() if each.pid > 1]
        steps = [each for each in above if each.name().startswith("slurmstepd")]
        assert steps, above
        kill([*family(self.machines["n2"]), *above[: above.index(steps[0]) + 1]])

    def come_back(self) -> None:
        self.start("n2")

    def ran(self, *words: str) -> str:
        """Run one of Slurm's own commands."""
        ended = subprocess.run(
            words, env=self.environment(), capture_output=True, check=True, text=True
        )
        return ended.stdout

    def is_ready(self) -> bool:
        try:
            said = self.ran("sinfo", "--noheader", "--Node", "--format=%T")
        except subprocess.CalledProcessError:
            return False
        return said.split() == ["idle"] * len(CPUS)

    def environment(self) -> dict[str, str]:
        """Return what its programs see."""
        return {**os.environ, "PATH": _path()}


@contextlib.contextmanager
def slurm(top: Path) -> Iterator[Slurm]:
    """Run Slurm for as long as the block; `SLURM_CONF` names it meanwhile."""
    with contextlib.ExitStack() as stack:
        made = Slurm(top, stack)
        _configure(top)
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(top / "slurm.conf")
        stack.callback(_restore, before)
        munge = top / "munge"
        munge.mkdir(mode=0o755)
        key = munge / "key"
        key.touch(mode=0o400)
        key.chmod(0o600)
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"socket": "socket", "pid-file": "pid", "log-file": "log"}
        named = [f"--{name}={munge / file}" for name, file in files.items()]
        words = ["munged", "--foreground", *named, f"--key-file={key}"]
        words.append(f"--seed-file={munge / 'seed'}")
        stack.enter_context(
            daemon(*words, log=top / "munge.out", env=made.environment())
        )
        wait_for("munge's socket", (munge / "socket").is_socket)
        words = ["slurmctld", "-D", "-c"]
        stack.enter_context(
            daemon(*words, log=top / "controller.out", env=made.environment())
        )
        for name in CPUS:
            made.start(name)
        wait_for("idle machines of Slurm", made.is_ready)
        yield made


def _configure(top: Path) -> None:
    for name in ("state", *(f"spool-{each}" for each in CPUS)):
        (top / name).mkdir()
    privileged = os.geteuid() == 0
    text = _CONFIGURATION.format(
        top=top,
        host=socket.gethostname().partition(".")[0],
        user=psutil.Process().username(),
        ports=free_ports(3),
        tracking="linuxproc" if privileged else "pgid",
    )
    (top / "slurm.conf").write_text(text)
    (top / "gres.conf").write_text(_GPUS)


def _restore(before: str | None) -> None:
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
