"""A real Ray on this machine: a head, and a second machine of our own beside it."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from nunet_node.executors.cluster.ray import RayCluster
from tests.cluster.daemons import (
    clean_environment,
    daemon,
    family,
    free_ports,
    kill,
    wait_for,
)

MIB = 1 << 20
_TYPED = '{"accelerator_type:A100": 1}'
"""What a machine says of itself that has such GPUs."""
_QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": 0,
    "RAY_enable_metrics_collection": 0,
    "RAY_health_check_period_ms": 1000,
    "RAY_health_check_timeout_ms": 5000,
    "RAY_enable_autoscaler_v2": 0,
}


def program() -> str | None:
    """Return the command `ray` of the environment that was made for these tests."""
    made = Path(os.environ.get("NUNET_TEST_RAY", ".make/ray")) / "bin"
    return shutil.which("ray", path=str(made.absolute()))


class Ray:
    """The cluster; `ray` makes it."""

    backend = "ray"
    largest_cpus = 2
    cpus = 3

    def __init__(self, top: Path, stack: contextlib.ExitStack) -> None:
        self._top = top
        self._stack = stack
        self._gcs, self._http = free_ports(2)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(secrets.token_hex(32))
        self._second: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http}"

    @property
    def address_of_tasks(self) -> str:
        """Where a program joins that spreads its own work over the cluster."""
        return f"127.0.0.1:{self._gcs}"

    @property
    def token_file(self) -> Path:
        """What admits to it, because anybody else on this machine is not to."""
        return self._top / "token"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token_file.read_text()}"}

    @property
    def adapter(self) -> RayCluster:
        return RayCluster(self.address, token=self.token_file.read_text())

    def settings(self) -> str:
        return f'address = "{self.address}"\ntoken_file = "{self.token_file}"'

    def environment(self) -> dict[str, str]:
        """Return what its programs see."""
        return clean_environment(**_QUIET, RAY_AUTH_TOKEN_PATH=self.token_file)

    def start_head(self) -> None:
        self._start(
            "head",
            *("--head", f"--port={self._gcs}", "--num-cpus=1", "--num-gpus=1"),
            *(f"--dashboard-port={self._http}", "--dashboard-host=127.0.0.1"),
            f"--temp-dir={self._top / 'r'}",
        )
        wait_for("Ray's dashboard", lambda: self.count() == 1)

    def come_back(self) -> None:
        """Start the second machine, again if need be."""
        at = f"127.0.0.1:{self._gcs}"
        words = ("--num-cpus=2", "--num-gpus=2", f"--resources={_TYPED}")
        self._second = self._start("second", f"--address={at}", *words)
        wait_for("Ray's second machine", lambda: self.count() == 2)

    def lose_power(self, _process: psutil.Process) -> None:
        """Kill the second machine, and everything on it."""
        assert self._second is not None
        kill(family(self._second))

    def count(self) -> int:
        """Return how many machines Ray says to live."""
        try:
            url = f"{self.address}/nodes?view=summary"
            found = httpx.get(url, headers=self.headers, timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return 0
        states = [each["raylet"].get("state") for each in found["data"]["summary"]]
        return states.count("ALIVE")

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        ports = zip(
            (
                *("node-manager-port", "object-manager-port", "metrics-export-port"),
                *("dashboard-agent-listen-port", "runtime-env-agent-port"),
            ),
            free_ports(5),
            strict=True,
        )
        started = daemon(
            *(program(), "start", "--block", "--node-ip-address=127.0.0.1"),
            *(f"--memory={900 * MIB}", f"--object-store-memory={80 * MIB}"),
            *(f"--{option}={port}" for option, port in ports),
            *words,
            log=self._top / f"{name}.out",
            env=self.environment(),
        )
        return self._stack.enter_context(started)


@contextlib.contextmanager
def ray() -> Iterator[Ray]:
    """Run Ray for as long as the block.

    Its sockets lie below its directory, and their names have to be short.
    """
    with contextlib.ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-")))
        made = Ray(top, stack)
        made.start_head()
        made.come_back()
        yield made
