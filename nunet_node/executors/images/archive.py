"""The layers of an image file: a tar of a root, an OCI layout, or what docker saves.

Rule: the file is a stranger's. Names in it are looked up, never followed, and the
documents in it are read within bounds. Sources: OCI image layout and image manifest
1.0; the archive format of ``docker save``.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar, Final

import msgspec

from nunet_node.errors import PeerError

DOCUMENT_BYTES_MAX: Final = 4 << 20
"""Largest index or manifest; real ones have a few kilobytes."""
LAYERS_MAX: Final = 128
"""Most layers; docker itself allows 127."""
NESTING_MAX: Final = 4
"""Deepest index within an index; builders make two."""
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageError(PeerError):
    """An image is no image, or too much of one."""

    code: ClassVar[str] = "executor.image"


class _Platform(msgspec.Struct, frozen=True):
    architecture: str = ""


class _Descriptor(msgspec.Struct, frozen=True):
    digest: str
    platform: _Platform = _Platform()


class _Document(msgspec.Struct, frozen=True):
    """An index, which has manifests, or a manifest, which has layers."""

    layers: tuple[_Descriptor, ...] | None = None
    manifests: tuple[_Descriptor, ...] = ()


class _Saved(msgspec.Struct, frozen=True):
    layers: tuple[str, ...] = msgspec.field(name="Layers")


@contextmanager
def layers(source: BinaryIO, machine: str) -> Iterator[Iterator[tarfile.TarFile]]:
    """Open an image file; yields its layers, lowest first, each as an open tar.

    Args:
        source: the file, which can be sought.
        machine: the processor's name, as the kernel has it, to choose by.

    Raises:
        ImageError: it is no image that we read.
    """
    try:
        with tarfile.open(fileobj=source, mode="r:*") as outer:
            yield _layers(outer, machine)
    except (tarfile.TarError, EOFError, msgspec.MsgspecError) as error:
        raise ImageError(f"the image cannot be read: {error}") from None


def _layers(outer: tarfile.TarFile, machine: str) -> Iterator[tarfile.TarFile]:
    first = outer.next()
    names = _names(outer) if first is not None else {}
    if "oci-layout" in names and "index.json" in names:
        wanted = _oci_layers(outer, names, machine)
    elif "manifest.json" in names:
        wanted = _docker_layers(outer, names)
    else:
        yield outer
        return
    if len(wanted) > LAYERS_MAX:
        raise ImageError(f"the image has more than {LAYERS_MAX} layers")
    for member in wanted:
        inner = outer.extractfile(member)
        if inner is None:
            raise ImageError(f"the image's layer {member.name} is no file")
        with tarfile.open(fileobj=inner, mode="r:*") as layer:
            yield layer


def _names(outer: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    return {member.name.removeprefix("./"): member for member in outer.getmembers()}


def _oci_layers(
    outer: tarfile.TarFile, names: dict[str, tarfile.TarInfo], machine: str
) -> list[tarfile.TarInfo]:
    name = "index.json"
    for _ in range(NESTING_MAX):
        document = msgspec.json.decode(_read(outer, names, name), type=_Document)
        if document.layers is not None:
            return [_blob(names, each) for each in document.layers]
        chosen = _chosen(document.manifests, machine)
        name = _blob(names, chosen).name
    raise ImageError("the image's index names no manifest")


def _chosen(manifests: tuple[_Descriptor, ...], machine: str) -> _Descriptor:
    """Return the manifest for this processor, or the only one."""
    ours = _ARCHITECTURES.get(machine, machine)
    for each in manifests:
        if each.platform.architecture == ours:
            return each
    if len(manifests) != 1:
        raise ImageError(f"the image has no manifest for {machine}")
    return manifests[0]


def _docker_layers(
    outer: tarfile.TarFile, names: dict[str, tarfile.TarInfo]
) -> list[tarfile.TarInfo]:
    text = _read(outer, names, "manifest.json")
    found = msgspec.json.decode(text, type=tuple[_Saved, ...])
    if len(found) != 1:
        raise ImageError("the archive holds more than one image")
    return [_member(names, name) for name in found[0].layers]


def _blob(
    names: dict[str, tarfile.TarInfo], descriptor: _Descriptor
) -> tarfile.TarInfo:
    algorithm, _, digest = descriptor.digest.partition(":")
    return _member(names, f"blobs/{algorithm}/{digest}")


def _member(names: dict[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    if name not in names:
        raise ImageError(f"the image lacks {name[:200]}")
    return names[name]


def _read(
    outer: tarfile.TarFile, names: dict[str, tarfile.TarInfo], name: str
) -> bytes:
    member = _member(names, name.removeprefix("./"))
    source = outer.extractfile(member)
    if source is None or member.size > DOCUMENT_BYTES_MAX:
        raise ImageError(f"the image's {name[:200]} is no document")
    return source.read()
