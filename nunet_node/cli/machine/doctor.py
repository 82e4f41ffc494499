"""``doctor``: try to break what jobs would run in, and say what held.

Rule: it claims nothing that was not just tried, and every gap has a numbered remedy.
"""

from pathlib import Path
from typing import Any, Final

import click
import trio

from nunet_node.cli.output import Settings, table, visible
from nunet_node.executors.port import Capability, Finding
from nunet_node.quantities import cpu_text, size_text
from nunet_node.runtime.config import Config, read_config
from nunet_node.runtime.home import Home, cache_directory, open_home
from nunet_node.runtime.work.checkup import Checkup, check_up, check_up_cluster
from nunet_node.runtime.work.scratch import held_scratch

_WALLS: Final = frozenset({"network", "host files", "host processes", "privileges"})
"""Barriers against getting out; the others are limits of an order."""


@click.command("doctor", epilog="Next: nunet-node up")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A node's TOML file: says what it lends, and which cluster to examine.",
)
@click.pass_obj
def doctor_command(settings: Settings, config_file: Path | None) -> int:
    """Attack this machine's sandboxes from inside, and say what held.

    Ends with 1 if no engine may be offered.
    """
    home = open_home(settings.home)
    config = read_config(config_file) if config_file else Config()
    settings.note("running guests that try to break out; this takes some seconds")
    with held_scratch(home) as scratch:
        found = _checked(home, config, scratch)
    settings.document(_document(found))
    if not settings.json:
        settings.say(_report(found))
    ready = any(each.ready for each in found.capabilities)
    settings.note(
        "next: nunet-node up" if ready else "next: mend a gap, and look again"
    )
    return 0 if ready else 1


def _checked(home: Home, config: Config, scratch: Path) -> Checkup:
    if config.backend == "local":
        return trio.run(check_up, scratch, cache_directory(), config.domains)
    # Imported here: few nodes have a cluster, and loading this takes its time.
    from nunet_node.runtime.work.clustered import (  # noqa: PLC0415
        cluster_executors,
    )

    did = home.node_key().did
    return trio.run(lambda: check_up_cluster(cluster_executors(config, scratch, did)))


def _document(found: Checkup) -> dict[str, Any]:
    return {
        "engines": [_engine(each) for each in found.capabilities],
        "gaps": [
            {"engine": gap.engine, "what": gap.what, "remedy": gap.remedy}
            for gap in found.gaps
        ],
        "room": {
            "cpu_millis": found.room.cpu_millis,
            "memory_bytes": found.room.memory_bytes,
            "disk_bytes": found.room.disk_bytes,
            "gpus": [str(kind) for kind in found.room.gpu_kinds],
        },
        "network": ["none", "http"] if found.http and found.domains else ["none"],
        "http": {"possible": found.http, "domains": list(found.domains)},
        "backend": found.backend,
        "machines": [each.name for each in found.machines],
    }


def _engine(found: Capability) -> dict[str, Any]:
    return {
        "engine": found.engine,
        "ready": found.ready,
        "isolation": found.isolation,
        "detail": found.detail,
        "barriers": [
            {"barrier": each.barrier, "held": each.held, "detail": each.detail}
            for each in found.findings
        ],
    }


def _report(found: Checkup) -> str:
    head = ("ENGINE", "OFFERED", "BARRIERS", "KEPT IN", "LIMITS HELD")
    room = found.room
    offered = (
        f"room for jobs: {cpu_text(room.cpu_millis)} CPU, "
        f"{size_text(room.memory_bytes)} memory, {size_text(room.disk_bytes)} disk, "
        f"{visible(room.text('gpus'))}\n"
        f"network of jobs: {_network(found)}"
    )
    backend = f"jobs run on: {visible(found.backend)}"
    if found.machines:
        backend += f" (machines: {len(found.machines)}; one of them was examined)"
    lines = [table(head, map(_row, found.capabilities)), "", backend, offered]
    for number, gap in enumerate(found.gaps, start=1):
        lines += ["", f"{number}. {gap.engine}: {visible(gap.what)}"]
        lines += [f"   remedy: {gap.remedy}"]
    return "\n".join(lines)


def _network(found: Checkup) -> str:
    """Say what jobs reach, and how that is changed."""
    if not found.http:
        return "none; what they need comes as inputs"
    if not found.domains:
        return (
            "none; what they need comes as inputs. To let processes reach domains from "
            'this address, write http = ["pypi.example"] in the file of up --config'
        )
    domains = ", ".join(found.domains)
    return f"none, or by HTTP for processes that ask: {visible(domains)}"


def _row(found: Capability) -> tuple[str, ...]:
    walls = [each for each in found.findings if each.barrier in _WALLS]
    limits = [each for each in found.findings if each.barrier not in _WALLS]
    offered = "yes" if found.ready else "no"
    return (found.engine, offered, found.isolation, _held(walls), _held(limits))


def _held(findings: list[Finding]) -> str:
    """Name what held, and mark what did not."""
    marked = (each.barrier if each.held else f"NOT {each.barrier}" for each in findings)
    return ", ".join(marked) or "-"
