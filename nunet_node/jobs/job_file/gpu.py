"""Graphics processors as a person asks for them, in a file or an option.

``resources.gpu`` is a number, or a map with ``count``, ``vendor``, ``model`` and
``vram``; the option ``--gpu`` takes the same as ``2,model=H100,vram=80GB``. What is not
said may be anything.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file.plain_yaml import JobFileError, Value, nearest
from nunet_node.quantities import GPUS_MAX, Gpus, parse_size_bytes

_KEYS: Final = ("count", "vendor", "model", "vram")
_VENDOR: Final = re.compile(r"[a-z0-9-]{1,16}")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}")

GPU_SCHEMA: Final[Mapping[str, Any]] = {
    "description": "Graphics processors of one kind; none unless given.",
    "oneOf": [
        {"type": "integer", "minimum": 1, "maximum": GPUS_MAX},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "count": {
                    "description": "How many; 1 unless given.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": GPUS_MAX,
                },
                "vendor": {
                    "description": "Whose, such as nvidia; any unless given.",
                    "type": "string",
                    "pattern": f"^{_VENDOR.pattern}$",
                },
                "model": {
                    "description": "Part of its name, such as H100; any unless given.",
                    "type": ["string", "number"],
                    "pattern": f"^{_MODEL.pattern}$",
                },
                "vram": {
                    "description": "Memory that each has at least, such as 24GB.",
                    "type": ["string", "number"],
                },
            },
        },
    ],
}
"""What may stand in a job file."""


def read_gpu(value: Value) -> Gpus:
    """Read ``resources.gpu``.

    Raises:
        JobFileError: it is wrong; the message names the line.
    """
    if not value.is_map:
        return _said(value, {"count": value.text()})
    pairs = value.known_pairs(_KEYS)
    return _said(value, {name: each.text() for name, each in pairs.items()})


def parse_gpu(text: str) -> Gpus:
    """Read ``COUNT`` or ``COUNT,vendor=…,model=…,vram=…``; the count may be missing.

    Raises:
        PeerError: it is not that.
    """
    said: dict[str, str] = {}
    for place, part in enumerate(text.split(",")):
        key, equals, value = part.strip().partition("=")
        if not equals and place == 0:
            key, value = "count", key
        if key not in _KEYS:
            raise JobFileError(
                f"{part.strip()!r} says nothing of a GPU{nearest(key, _KEYS)}; "
                "write COUNT,vendor=NAME,model=NAME,vram=SIZE"
            )
        said[key] = value
    return _gpus(said)


def _said(value: Value, said: Mapping[str, str]) -> Gpus:
    try:
        return _gpus(said)
    except PeerError as error:
        raise value.wrong(str(error)) from None


def _gpus(said: Mapping[str, str]) -> Gpus:
    count = said.get("count", "1")
    if not re.fullmatch(r"[0-9]{1,3}", count) or not 1 <= int(count) <= GPUS_MAX:
        raise JobFileError(f"{count!r} is not a number of GPUs from 1 to {GPUS_MAX}")
    vendor, model = said.get("vendor", ""), said.get("model", "")
    if "vendor" in said and not _VENDOR.fullmatch(vendor.lower()):
        raise JobFileError(f"{vendor!r} is not a vendor's name, such as nvidia")
    if "model" in said and not _MODEL.fullmatch(model):
        raise JobFileError(f"{model!r} is not part of a GPU's name, such as H100")
    return Gpus(
        vendor=vendor.lower(),
        model=model,
        memory_bytes=parse_size_bytes(said.get("vram", "0")),
        count=int(count),
    )
