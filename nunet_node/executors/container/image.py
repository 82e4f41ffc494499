"""Which image a container gets: one that the engine has, or one that the job brings.

Rule: nothing is pulled. What a job brings is a tar of a root file system among its
inputs, imported once under the hash of its bytes, so that two jobs with one image share
it and no job can replace another's. For probing there is an image made of this
machine's own shell.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import trio

from nunet_node.executors.container.api import EngineApi
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import PROBE_IMAGE, EngineError, RunOrder

READ_BYTES: Final = 1 << 20
_PROBE_TOOLS: Final = "sh bash cat grep head readlink sleep tr true unshare".split()  # noqa: SIM905
_LIBRARY: Final = re.compile(r"(/\S+) \(0x")
_NAMES: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,255}")


async def local_image(api: EngineApi, order: RunOrder, job_dir: JobDir) -> str:
    """Return the id of the image that the order names.

    Raises:
        EngineError: the engine has none of that name, and the job brings none.
    """
    name = order.image
    if name == PROBE_IMAGE:
        tar = await trio.to_thread.run_sync(probe_root)
        return await _imported(api, hashlib.sha256(tar).hexdigest(), _once(tar))
    if name in job_dir.inputs:
        digest = await trio.to_thread.run_sync(_digest, job_dir, name)
        return await _imported(api, digest, _read(job_dir, name))
    found = await api.image_id(name) if _NAMES.fullmatch(name) else None
    if found is None:
        raise EngineError(
            f"image {name!r} is not here; bring it as an input, a tar of its root"
        )
    return found


async def _imported(api: EngineApi, digest: str, tar: AsyncIterator[bytes]) -> str:
    tag = f"localhost/nunet-node:{digest}"
    known = await api.image_id(tag)
    if known is not None:
        return known
    await api.import_root(tar, digest)
    made = await api.image_id(tag)
    if made is None:
        raise EngineError("the engine did not keep the image")
    return made


def probe_root() -> bytes:
    """Return a root file system with this machine's shell and a few tools. Blocks."""
    found: dict[str, Path] = {}
    for tool in _PROBE_TOOLS:
        at = shutil.which(tool)
        if at is not None:
            found[f"bin/{tool}"] = Path(at)
            found |= {str(each).lstrip("/"): each for each in _libraries(at)}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for folder in ("job", "tmp", "proc", "dev", "sys", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, source in sorted(found.items()):
            data = source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def _libraries(program: str) -> Iterator[Path]:
    """Yield the libraries that a program loads, its loader included."""
    told = subprocess.run(  # noqa: S603 - a program of this system, found by its name
        ["/usr/bin/ldd", program], capture_output=True, text=True, check=False
    )
    yield from (Path(each) for each in _LIBRARY.findall(told.stdout))


def _digest(job_dir: JobDir, name: str) -> str:
    with os.fdopen(job_dir.open_file(name), "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _read(job_dir: JobDir, name: str) -> AsyncIterator[bytes]:
    with os.fdopen(job_dir.open_file(name), "rb") as source:
        while piece := await trio.to_thread.run_sync(source.read, READ_BYTES):
            yield piece
