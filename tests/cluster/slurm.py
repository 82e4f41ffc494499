"""A real Slurm on this machine: munge, a controller, and two machines of our own.

Where it can be, jobs are in control groups of Slurm's: its limits on memory, processors
and devices hold then, and our own sandboxes are inside of them.
"""

import contextlib
import os
import secrets
import shutil
import socket
import stat
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
TaskPlugin={tasks}
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdTimeout=15
KillWait=5
ReturnToService=2
SchedulerParameters=bf_interval=1,sched_interval=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1500 TmpDisk=4000 Gres=gpu:T4:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1500 TmpDisk=4000 Gres=gpu:A100:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=120 MaxMemPerNode=1400 State=UP
"""
_GPUS = """\
NodeName=n1 Name=gpu Type=T4 File={nodes[0]}
NodeName=n2 Name=gpu Type=A100 File={nodes[1]}
NodeName=n2 Name=gpu Type=A100 File={nodes[2]}
"""
_GROUPS = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint={hierarchies}
ConstrainRAMSpace=yes
ConstrainCores=yes
ConstrainDevices=yes
"""
_HIERARCHIES = Path("/sys/fs/cgroup")
_GROUPED = ("freezer", "cpuset", "memory", "devices")
"""What Slurm needs; with version 2 it also needs systemd."""


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
        stack.callback(_remove_groups)
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
    grouped = _can_group()
    tracking = "linuxproc" if os.geteuid() == 0 else "pgid"
    text = _CONFIGURATION.format(
        top=top,
        host=socket.gethostname().partition(".")[0],
        user=psutil.Process().username(),
        ports=free_ports(3),
        tracking="cgroup" if grouped else tracking,
        tasks="task/cgroup,task/affinity" if grouped else "task/none",
    )
    (top / "slurm.conf").write_text(text)
    (top / "cgroup.conf").write_text(_GROUPS.format(hierarchies=_HIERARCHIES))
    (top / "gres.conf").write_text(_GPUS.format(nodes=_device_nodes(top, grouped)))


def _can_group() -> bool:
    """Tell whether Slurm can have control groups here."""
    return all(
        os.access(_HIERARCHIES / each / "cgroup.procs", os.W_OK) for each in _GROUPED
    )


def _device_nodes(top: Path, grouped: bool) -> list[Path]:
    """Return nodes of three GPUs; whatever they lead to, Slurm keeps jobs from them."""
    if not grouped:
        return [Path("/dev/null"), Path("/dev/null"), Path("/dev/zero")]
    nodes = [top / f"gpu{number}" for number in range(3)]
    for number, node in enumerate(nodes):
        # Those of NVIDIA's driver, far beyond any that a machine has.
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(195, 200 + number))
    return nodes


def _remove_groups() -> None:
    """Remove the control groups that Slurm leaves behind, which are empty."""
    for controller in _GROUPED:
        for name in CPUS:
            top = _HIERARCHIES / controller / f"slurm_{name}"
            below = sorted(top.rglob("*/"), reverse=True) if top.is_dir() else []
            for group in (*below, top):
                with contextlib.suppress(OSError):
                    group.rmdir()


def _restore(before: str | None) -> None:
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
