"""Unpacking in a process of its own, because a tar can ask for any amount of memory.

Rule: the child that reads the stranger's bytes has bounds of its own on memory, time
and file size, and says nothing but why it failed.
"""

import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

from nunet_node.executors.images.archive import ImageError, layers
from nunet_node.executors.images.unpack import UNPACKED_BYTES_MAX, unpack
from nunet_node.executors.ready import import_path

UNPACK_S: Final = 300
"""Longest unpacking; four gigabytes take a minute on a slow disk."""
UNPACK_MEMORY_BYTES: Final = 1 << 30
"""Most memory for it: three hundred thousand entries take a third."""
SAID_CHARS_MAX: Final = 500
"""Most of the child's words that a reason repeats."""
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n');"
    "from nunet_node.executors.images.child import main; main()"
)


def unpack_apart(source: int, target: Path) -> None:
    """Unpack the image file behind a descriptor into an empty directory. Blocks.

    Raises:
        ImageError: it is no image, or takes too much.
    """
    words = [sys.executable, "-I", "-S", "-c", _BOOT, import_path()]
    try:
        done = subprocess.run(  # noqa: S603 - our own child program
            [*words, str(source), str(target)],
            pass_fds=(source,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            timeout=UNPACK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"the image takes more than {UNPACK_S} s to unpack") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-SAID_CHARS_MAX:]
        raise ImageError(said or f"unpacking the image ended with {done.returncode}")


def main() -> None:
    """Unpack; the arguments are a descriptor and a directory."""
    _bound(resource.RLIMIT_AS, UNPACK_MEMORY_BYTES)
    _bound(resource.RLIMIT_CPU, UNPACK_S)
    _bound(resource.RLIMIT_FSIZE, UNPACKED_BYTES_MAX)
    with open(int(sys.argv[1]), "rb") as source:  # noqa: PTH123 - a descriptor
        source.seek(0)
        try:
            with layers(source, platform.machine()) as found:
                unpack(found, Path(sys.argv[2]))
        except MemoryError:
            sys.exit("the image takes too much memory to unpack")
        except (ImageError, OSError) as error:
            sys.exit(f"{error}")


def _bound(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (bound, bound))
