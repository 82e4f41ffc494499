"""Finding each other by multicast: on a network of the test's own, or not at all."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.network import Network, Node

MDNS_PORT: Final = 5353
_NUMBERS: Final = itertools.count()

Machine = tuple[str, ...]
"""The words before a command that make it run on one of two machines."""


def _asks_the_network(node: Node) -> bool:
    """Tell whether a node has multicast DNS's port open, in its own namespace."""
    process = Path(f"/proc/{node.pid}")
    own = set()
    for each in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            own.add(os.readlink(each))
    lines = [
        line.split()
        for table in ("udp", "udp6")
        for line in (process / "net" / table).read_text().splitlines()[1:]
    ]
    return any(
        int(line[1].rpartition(":")[2], 16) == MDNS_PORT
        and f"socket:[{line[9]}]" in own
        for line in lines
    )


def _ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network of one's own here: {done.stderr.strip()}")


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Join two network namespaces by a cable, as if they were two machines."""
    if os.geteuid() != 0:
        pytest.skip("making a network of one's own takes root")
    stem = f"nt{os.getpid()}x{next(_NUMBERS)}"
    names = (f"{stem}a", f"{stem}b")
    with ExitStack() as stack:
        try:
            for name in names:
                _ip("netns", "add", name)
                stack.callback(_ip, "netns", "del", name)
            ends = [("netns", name, "name", "lan0") for name in names]
            _ip(
                "link",
                "add",
                *ends[0][2:],
                *ends[0][:2],
                "type",
                "veth",
                "peer",
                *ends[1][2:],
                *ends[1][:2],
            )
        except FileNotFoundError:
            pytest.skip("the command `ip` is not installed")
        for number, name in enumerate(names, 1):
            within = ("-n", name)
            _ip(*within, "address", "add", f"10.77.0.{number}/24", "dev", "lan0")
            for link in ("lo", "lan0"):
                _ip(*within, "link", "set", link, "up")
        first, second = (("ip", "netns", "exec", name) for name in names)
        yield first, second


def test_nodes_on_one_network_find_each_other_unasked(
    net: Network, machines: tuple[Machine, Machine]
):
    wide = ("--listen", "/ip4/0.0.0.0/tcp/4040")
    one, other = (net.node(*wide, mdns=True, within=each) for each in machines)
    one.event(lambda it: it["event"] == "peer" and it["did"] == other.did)
    other.event(lambda it: it["event"] == "peer" and it["did"] == one.did)
    assert one.address.startswith("/ip4/10.77.0.1/tcp/4040/p2p/")


def test_nodes_that_were_told_not_to_do_not_look_around(
    net: Network, machines: tuple[Machine, Machine]
):
    wide = ("--listen", "/ip4/0.0.0.0/tcp/4040")
    looking = net.node(*wide, mdns=True, within=machines[0])
    silent = net.node(*wide, within=machines[1])
    third = net.node(
        *("--listen", "/ip4/0.0.0.0/tcp/4041"), mdns=True, within=machines[1]
    )
    looking.event(lambda it: it["event"] == "peer" and it["did"] == third.did)
    assert _asks_the_network(looking)
    assert not _asks_the_network(silent)
    assert silent.did not in looking.out.text()


def test_a_node_on_loopback_never_looks_around(net: Network):
    node = net.node("--no-provide", mdns=True)
    assert not _asks_the_network(node)
    node.stop().must()
