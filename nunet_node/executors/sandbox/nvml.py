"""The graphics processors of this machine, as NVIDIA's own library tells them.

Rule: what is not there is left out, and no driver's failure is ours. They are told
where the package ``nvidia-ml-py`` is installed; without it there are none. Source:
NVML API Reference, Device Queries.
"""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

from nunet_node.executors.sandbox.devices import Device, kinds_of
from nunet_node.market.offers import GPUS_MAX
from nunet_node.quantities import KINDS_MAX, Gpus

_log = logging.getLogger("nunet_node.executors.sandbox.nvml")


def usable_devices() -> tuple[Device, ...]:
    """Return the GPUs whose nodes are here: a container may show its driver alone."""
    found = find_devices()
    return tuple(d for d in found if all(Path(node).exists() for node in d.nodes))


def find_devices(nvml: Any = None) -> tuple[Device, ...]:
    """Return the GPUs that the driver shows; none without driver or library.

    Args:
        nvml: the module ``pynvml`` or one like it; the installed one if None.
    """
    library = nvml or _library()
    if library is None:
        return ()
    try:
        library.nvmlInit()
    except Exception as error:  # noqa: BLE001 - its errors are classes made at run time
        _log.debug("no GPU: %s", error)
        return ()
    try:
        count = min(library.nvmlDeviceGetCount(), GPUS_MAX)
        found = tuple(_device(library, place) for place in range(count))
        return found if len(kinds_of(found)) <= KINDS_MAX else ()
    except Exception as error:  # noqa: BLE001 - a driver that fails has no GPU to offer
        _log.warning("the GPUs cannot be told: %s", error)
        return ()
    finally:
        library.nvmlShutdown()


def _library() -> Any:
    try:
        return import_module("pynvml")
    except ImportError:
        return None


def _device(library: Any, place: int) -> Device:
    handle = library.nvmlDeviceGetHandleByIndex(place)
    model = _text(library.nvmlDeviceGetName(handle))
    memory_bytes = int(library.nvmlDeviceGetMemoryInfo(handle).total)
    # The number in the name of its node; it need not be its place in the list.
    number = int(library.nvmlDeviceGetMinorNumber(handle))
    return Device(
        name=f"nvidia{number}",
        kind=Gpus(vendor="nvidia", model=model[:64], memory_bytes=memory_bytes),
        nodes=(f"/dev/nvidia{number}",),
        uuid=_text(library.nvmlDeviceGetUUID(handle)),
    )


def _text(said: str | bytes) -> str:
    """Return a name; older releases of the library answer in bytes."""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
