"""Which graphics processors a cluster gave to a job, where it runs.

Rule: a job has those that its cluster gave it, and no other, whatever the cluster keeps
it from. A cluster names them in a variable, by UUID or by number; which device a number
stands for is the driver's word, and what cannot be told for certain is not shown. What
was promised is compared with what is there. Sources: CUDA C++ Programming Guide,
Environment Variables; gres.conf(5) of Slurm 22.05; Ray 2.60, Accelerator Support.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from nunet_node.executors.port import DevicesError
from nunet_node.executors.sandbox.devices import SHARED_NODES, Device
from nunet_node.quantities import Gpus, size_text

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
"""Names what a process has, to whoever computes with it."""

GIVEN_MAX: Final = 64
"""Devices in one variable; the largest machines have 16."""

_BY_MINOR: Final = "SLURM_JOB_ID"
"""Set by Slurm, which counts devices in the order of their nodes' numbers; elsewhere
they are counted as the driver does."""
_OTHERS: Final = Path("/dev/kfd")
"""The node of AMD's driver."""
_NUMBER: Final = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The devices of one job, and what its variable is to say of them."""

    devices: tuple[Device, ...] = ()
    visible: str = ""


def given(
    wanted: tuple[Gpus, ...], environ: Mapping[str, str], present: tuple[Device, ...]
) -> Given:
    """Return what a job was given that wants these.

    Args:
        wanted: the kinds that it was promised; several are never asked of a cluster.
        environ: what the cluster told us.
        present: every device that the driver shows here, in its order.

    Raises:
        DevicesError: it is something else than it was promised, or cannot be told.
    """
    if not wanted:
        return Given()
    names = [each.strip() for each in environ.get(VARIABLE, "").split(",")]
    names = [name for name in names[:GIVEN_MAX] if name]
    count = sum(each.count for each in wanted)
    if len(names) != count or len(set(names)) != count or len(wanted) != 1:
        raise DevicesError(
            f"{' and '.join(map(str, wanted))} wanted, the cluster gave "
            f"{VARIABLE}={','.join(names)[:100]}"
        )
    kind = msgspec.structs.replace(wanted[0], count=1)
    if not present:
        _check_untold()
        unseen = (Device(name=name, kind=kind, nodes=()) for name in names)
        return Given(devices=tuple(unseen), visible=",".join(names))
    counted = sorted(present, key=_minor) if _BY_MINOR in environ else present
    found = [_found(name, counted) for name in names]
    if len({device.name for device in found}) != count:
        raise DevicesError(f"the cluster gave one device twice: {','.join(names)}")
    for device in found:
        _check(device, kind)
    devices = tuple(replace(device, kind=kind) for device in found)
    # With no other node in its sandbox, a job counts those that it has from 0.
    return Given(devices=devices, visible=",".join(map(str, range(count))))


def _check_untold() -> None:
    """Refuse to guess which node belongs to which device, and to show none at all."""
    if Path(SHARED_NODES[0]).exists():
        raise DevicesError(
            "the GPUs of this machine cannot be told: install nvidia-ml-py for the "
            "runner"
        )
    if _OTHERS.exists():
        raise DevicesError("only NVIDIA's GPUs can be shown to a job")


def _found(name: str, counted: Sequence[Device]) -> Device:
    if _NUMBER.fullmatch(name):
        matching = list(counted[int(name) : int(name) + 1])
    else:
        # As CUDA does, which takes the beginning of a UUID too.
        matching = [each for each in counted if each.uuid.startswith(name)]
    if len(matching) != 1:
        raise DevicesError(f"the cluster gave {name[:100]!r}, which is no GPU here")
    return matching[0]


def _check(device: Device, promised: Gpus) -> None:
    if promised.memory_bytes > device.kind.memory_bytes:
        raise DevicesError(
            f"{device.name} has {size_text(device.kind.memory_bytes)} of memory, "
            f"{size_text(promised.memory_bytes)} were promised"
        )
    missing = [node for node in device.nodes if not Path(node).exists()]
    if missing:
        raise DevicesError(f"{device.name} was given, but {missing[0]} is not here")


def _minor(device: Device) -> int:
    return int(device.name.removeprefix("nvidia"))
