"""The memory that a measurement meets: at hand, or lent out by the machine below.

A virtual machine may hand memory that was free for some seconds to the machine below
it (free page reporting, Documentation/mm/free_page_reporting.rst in Linux), and has it
back page by page, which costs more than to write to it. Whoever is measured after a
pause would pay for the pause. Rule: everything that is compared meets memory that was
in use until just now, or else says that it did not.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

WARM_BYTES: Final = 512 << 20
"""Twice what a fetch of 128 MiB writes: its blocks, and its files."""

PAUSE_S: Final = 10
"""Pause after which free memory may be lent out: the kernel looks every two seconds,
and hands over a part of what it finds each time."""

_PART: Final = bytes(1 << 20)


def warm(place: Path) -> None:
    """Have as much memory from the machine below, for files at ``place``, and free it."""
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        for _ in range(WARM_BYTES // len(_PART)):
            file.write(_PART)


def pause() -> None:
    """Let free memory go to the machine below, if it takes any."""
    time.sleep(PAUSE_S)
