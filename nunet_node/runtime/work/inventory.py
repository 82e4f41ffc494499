"""What kind of machine this is: its architecture, its GPUs, and how fast it is.

Rule: what is not there is left out, and nothing here fails a node. The figures are of
one processor, taken once, in a fifth of a second: they compare machines, and promise
nothing.
"""

import hashlib
import logging
import mmap
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from nunet_node.executors.sandbox.devices import Device
from nunet_node.market.offers import Figures, Gpu, Machine

MEASURED_BYTES: Final = 16 << 20
"""Bytes hashed, copied and written: some 10 ms each on a machine of today."""
_MIB: Final = 1 << 20
_NS_PER_S: Final = 1_000_000_000

_log = logging.getLogger("nunet_node.runtime.work.inventory")


def machine(scratch: Path, devices: Iterable[Device] = ()) -> Machine:
    """Look the machine over. Blocks for a moment.

    Args:
        scratch: a directory on the file system in which jobs run.
        devices: its GPUs, as they were found.
    """
    return Machine(
        architecture=platform.machine(), gpus=gpus(devices), figures=figures(scratch)
    )


def gpus(devices: Iterable[Device]) -> tuple[Gpu, ...]:
    """Return what an advert tells of the GPUs that the driver shows."""
    return tuple(
        Gpu(
            vendor=each.kind.vendor,
            model=each.kind.model,
            memory_bytes=each.kind.memory_bytes,
        )
        for each in devices
    )


def figures(scratch: Path) -> Figures:
    """Measure hashing, copying and writing, in MiB a second."""
    # Mapped, not allocated: what an allocator gets back, it may keep for ever.
    with mmap.mmap(-1, MEASURED_BYTES) as data, mmap.mmap(-1, MEASURED_BYTES) as copy:
        piece = os.urandom(_MIB)
        while data.tell() < MEASURED_BYTES:
            data.write(piece)
        return Figures(
            integer_mib_s=_rate(lambda: hashlib.sha256(data).digest()),
            memory_mib_s=_rate(lambda: _copied(data, copy)),
            disk_mib_s=_disk_rate(scratch, data),
        )


def _copied(data: mmap.mmap, copy: mmap.mmap) -> None:
    with memoryview(data) as source, memoryview(copy) as target:
        target[:] = source


def _disk_rate(scratch: Path, data: mmap.mmap) -> int:
    try:
        with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:

            def write() -> None:
                file.write(data)
                os.fsync(file.fileno())

            return _rate(write)
    except OSError as error:
        _log.info("the disk is not measured: %s", error)
        return 0


def _rate(work: Callable[[], object]) -> int:
    began = time.monotonic_ns()
    work()
    spent_ns = max(1, time.monotonic_ns() - began)
    return MEASURED_BYTES * _NS_PER_S // spent_ns // _MIB
