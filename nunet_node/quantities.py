"""Integers with units: amounts of time, memory, disk, processor and money.

Rule: no quantity in this package is a float. People write ``512MiB``, ``15m`` or
``1.5`` processors; `parse_size_bytes`, `parse_duration_s` and `parse_cpu_millis`
turn those into exact integers once, at the edge.
"""

import re
from decimal import Decimal
from typing import Annotated, Final, NewType

import msgspec

from nunet_node.errors import PeerError

UnixS = NewType("UnixS", int)
"""A moment: whole seconds since 1970-01-01 UTC, for what is signed."""

ElapsedNs = NewType("ElapsedNs", int)
"""A moment on a clock that never steps: nanoseconds since the process began."""

INT53_MAX: Final = 2**53 - 1
"""Largest integer that every CBOR and JSON reader keeps exact (RFC 8259, section 6)."""

Count = Annotated[int, msgspec.Meta(ge=0, le=INT53_MAX)]
"""Any non-negative quantity that travels."""

_SIZE_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_DURATION_UNITS: Final = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400, "W": 604800}
_DECIMAL: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_QUANTITY: Final = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


class QuantityError(PeerError):
    """A person wrote an amount that is not one."""

    code = "spec.quantity"


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The two clocks, read once for each input.

    ``unix_s`` judges what is signed and may step; ``elapsed_ns`` measures how long
    things take and never does.
    """

    unix_s: int
    elapsed_ns: int


class ResourceVector(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
):
    """What a job needs or a provider has, in every dimension at once."""

    cpu_millis: Count = 0
    memory_bytes: Count = 0
    disk_bytes: Count = 0

    def __add__(self, other: "ResourceVector") -> "ResourceVector":
        """Return the sum, dimension by dimension."""
        return ResourceVector(
            cpu_millis=self.cpu_millis + other.cpu_millis,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            disk_bytes=self.disk_bytes + other.disk_bytes,
        )

    def less(self, other: "ResourceVector") -> "ResourceVector":
        """Return what is left after ``other``; never below zero."""
        return ResourceVector(
            cpu_millis=max(0, self.cpu_millis - other.cpu_millis),
            memory_bytes=max(0, self.memory_bytes - other.memory_bytes),
            disk_bytes=max(0, self.disk_bytes - other.disk_bytes),
        )

    def shortfall(self, offered: "ResourceVector") -> str | None:
        """Return the first dimension in which ``offered`` is too small, if any."""
        if self.fits(offered):
            return None
        return next(
            name
            for name in self.__struct_fields__
            if getattr(self, name) > getattr(offered, name)
        )

    def fits(self, offered: "ResourceVector") -> bool:
        """Tell whether ``offered`` is enough in every dimension."""
        return (
            self.cpu_millis <= offered.cpu_millis
            and self.memory_bytes <= offered.memory_bytes
            and self.disk_bytes <= offered.disk_bytes
        )


def parse_size_bytes(text: str | int) -> int:
    """Read ``512MiB``, ``2G`` or ``1048576`` as bytes; K, M, G, T are binary.

    Raises:
        QuantityError: it is not a size.
    """
    return _parse(text, _SIZE_UNITS, "a size such as 512MiB or 2GiB")


def parse_duration_s(text: str | int) -> int:
    """Read ``15s``, ``10m``, ``2h``, ``7d`` or plain seconds as whole seconds.

    Raises:
        QuantityError: it is not a duration.
    """
    return _parse(text, _DURATION_UNITS, "a duration such as 15s, 10m or 7d")


def parse_cpu_millis(text: str | float) -> int:
    """Read a number of processors, such as ``2`` or ``0.5``, as thousandths.

    Raises:
        QuantityError: it is not a number of processors, or finer than a thousandth.
    """
    wanted = "a number of processors such as 2 or 0.5"
    return _parse_decimal(text, 1000, wanted)


def parse_price_micro_ntx(text: str | float) -> int:
    """Read an amount of NTX, such as ``3`` or ``0.25``, as millionths.

    Raises:
        QuantityError: it is not an amount, or finer than a millionth.
    """
    wanted = "an amount of NTX such as 3 or 0.25"
    return _parse_decimal(text, 10**6, wanted)


def size_text(size_bytes: int) -> str:
    """Return a size for people: the largest binary unit that keeps it short."""
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= scale:
            whole, tenth = divmod(size_bytes * 10 // scale, 10)
            return f"{whole}.{tenth}{unit}" if tenth else f"{whole}{unit}"
    return f"{size_bytes}B"


def duration_text(duration_s: int) -> str:
    """Return a duration for people, in its largest whole unit."""
    for unit, scale in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if duration_s >= scale and duration_s % scale == 0:
            return f"{duration_s // scale}{unit}"
    return f"{duration_s}s"


def cpu_text(cpu_millis: int) -> str:
    """Return thousandths of a processor as people write them."""
    return f"{(Decimal(cpu_millis) / 1000).normalize():f}"


def price_text(price_micro_ntx: int) -> str:
    """Return millionths of an NTX as people write an amount of NTX."""
    return f"{(Decimal(price_micro_ntx) / 10**6).normalize():f}"


def amount_text(dimension: str, amount: int) -> str:
    """Return an amount of a resource as people write it, by the field's name."""
    if dimension == "cpu_millis":
        return f"{cpu_text(amount)} CPU"
    return size_text(amount)


def _parse_decimal(text: str | float, scale: int, wanted: str) -> int:
    # A float is read as it prints, so that 0.1 is a tenth; never in powers of ten,
    # which would let a few characters stand for a number of any length.
    plain = f"{Decimal(repr(text)):f}" if isinstance(text, float) else str(text)
    match = _DECIMAL.fullmatch(plain.strip())
    amount = Decimal(match[0]) * scale if match else None
    if amount is None or amount != int(amount) or amount > INT53_MAX:
        raise QuantityError(f"{text!r} is not {wanted}")
    return int(amount)


def _parse(text: str | int, units: dict[str, int], wanted: str) -> int:
    match = None
    if not isinstance(text, bool):
        match = _QUANTITY.fullmatch(str(text).strip())
    scale = units.get(match[2].upper()) if match else None
    if match is None or scale is None:
        raise QuantityError(f"{text!r} is not {wanted}")
    amount = Decimal(match[1]) * scale
    if amount != int(amount) or amount > INT53_MAX:
        raise QuantityError(f"{text!r} is not {wanted}")
    return int(amount)
