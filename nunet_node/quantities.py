"""Integers with units: amounts of time, memory, disk, processor and money.

Rule: no quantity in this package is a float. People write ``512MiB``, ``15m`` or
``1.5`` processors; `parse_size_bytes`, `parse_duration_s` and `parse_cpu_millis`
turn those into exact integers once, at the edge.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Final, NewType

import msgspec

from nunet_node.domains import Domain
from nunet_node.errors import PeerError

UnixS = NewType("UnixS", int)
"""A moment: whole seconds since 1970-01-01 UTC, for what is signed."""

ElapsedNs = NewType("ElapsedNs", int)
"""A moment on a clock that never steps: nanoseconds since the process began."""

INT53_MAX: Final = 2**53 - 1
"""Largest integer that every CBOR and JSON reader keeps exact (RFC 8259, section 6)."""

Count = Annotated[int, msgspec.Meta(ge=0, le=INT53_MAX)]
"""Any non-negative quantity that travels."""

KINDS_MAX: Final = 8
"""Kinds of graphics processor in one machine; most have one."""

GPUS_MAX: Final = 64
"""Graphics processors of one kind in one machine; the largest have 16."""


class Reached(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """What a job carried to and from the hosts that one of its domains covers."""

    domain: Domain
    connections: Count = 0
    sent_bytes: Count = 0
    received_bytes: Count = 0

    def __str__(self) -> str:
        """Return it as people read it."""
        return (
            f"{self.domain}: {size_text(self.received_bytes)} received, "
            f"{size_text(self.sent_bytes)} sent, {self.connections} connections"
        )


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


class Gpus(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Graphics processors of one kind: those there are, are held, or are wanted.

    Wanted, an empty vendor or model stands for any, a model for any whose name holds
    it in whatever case, and the memory for as much or more, on each of them.
    """

    vendor: Annotated[str, msgspec.Meta(max_length=16)] = ""
    model: Annotated[str, msgspec.Meta(max_length=64)] = ""
    memory_bytes: Count = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=GPUS_MAX)] = 1

    def accepts(self, kind: "Gpus") -> bool:
        """Tell whether a kind is one that is wanted, however many there are."""
        return (
            self.vendor in ("", kind.vendor)
            and self.model.casefold() in kind.model.casefold()
            and self.memory_bytes <= kind.memory_bytes
        )

    def best_of(self, kinds: "Sequence[Gpus]") -> "Gpus | None":
        """Return the kind to take these from: its own, or the smallest that will do.

        None if no kind has enough of them; they are never of several kinds.
        """
        will_do = [k for k in kinds if self.accepts(k) and self.count <= k.count]
        return min(will_do, key=self._distance, default=None)

    def _distance(self, kind: "Gpus") -> tuple[bool, int, str, str]:
        return (
            self.model != kind.model,
            kind.memory_bytes,
            kind.vendor,
            kind.model,
        )

    def __str__(self) -> str:
        """Return them as people write them."""
        memory = size_text(self.memory_bytes) if self.memory_bytes else ""
        words = (f"{self.count} GPU", self.vendor, self.model, memory)
        return " ".join(word for word in words if word)


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
    gpus: (
        Annotated[tuple[Gpus, ...], msgspec.Meta(min_length=1, max_length=KINDS_MAX)]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    """Unset where there are none: what has no GPU is encoded without the word."""

    @property
    def gpu_kinds(self) -> tuple[Gpus, ...]:
        """The graphics processors, by kind; empty without any."""
        return () if self.gpus is msgspec.UNSET else self.gpus

    def with_gpus(self, kinds: Iterable[Gpus]) -> "ResourceVector":
        """Return this with these graphics processors instead."""
        return msgspec.structs.replace(self, gpus=tuple(kinds) or msgspec.UNSET)

    def __add__(self, other: "ResourceVector") -> "ResourceVector":
        """Return the sum, dimension by dimension."""
        total = ResourceVector(
            cpu_millis=self.cpu_millis + other.cpu_millis,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            disk_bytes=self.disk_bytes + other.disk_bytes,
        )
        if not self.gpu_kinds and not other.gpu_kinds:
            return total
        return total.with_gpus(_joined((*self.gpu_kinds, *other.gpu_kinds)))

    def less(self, other: "ResourceVector") -> "ResourceVector":
        """Return what is left after ``other``; never below zero."""
        rest = ResourceVector(
            cpu_millis=max(0, self.cpu_millis - other.cpu_millis),
            memory_bytes=max(0, self.memory_bytes - other.memory_bytes),
            disk_bytes=max(0, self.disk_bytes - other.disk_bytes),
        )
        kinds = self.gpu_kinds
        return rest.with_gpus(_left(kinds, other.gpu_kinds)) if kinds else rest

    def taken_from(self, offered: "ResourceVector") -> "ResourceVector":
        """Return this with the kinds of GPU that it gets of what is offered.

        What is held is told by its kind, so that nothing else is ever taken for it.
        """
        if not self.gpu_kinds:
            return self
        kinds = offered.gpu_kinds
        taken = []
        for wanted in self.gpu_kinds:
            kind = wanted.best_of(kinds) or wanted
            taken.append(msgspec.structs.replace(kind, count=wanted.count))
            kinds = _left(kinds, (wanted,))
        return self.with_gpus(taken)

    def shortfall(self, offered: "ResourceVector") -> str | None:
        """Return the first dimension in which ``offered`` is too small, if any."""
        if self.fits(offered):
            return None
        return next(
            name for name in self.__struct_fields__ if not self.has(name, offered)
        )

    def has(self, dimension: str, offered: "ResourceVector") -> bool:
        """Tell whether ``offered`` is enough in one dimension."""
        if dimension == "gpus":
            return _fit(self.gpu_kinds, offered.gpu_kinds)
        return bool(getattr(self, dimension) <= getattr(offered, dimension))

    def fits(self, offered: "ResourceVector") -> bool:
        """Tell whether ``offered`` is enough in every dimension."""
        return (
            self.cpu_millis <= offered.cpu_millis
            and self.memory_bytes <= offered.memory_bytes
            and self.disk_bytes <= offered.disk_bytes
            and (not self.gpu_kinds or _fit(self.gpu_kinds, offered.gpu_kinds))
        )

    def text(self, dimension: str) -> str:
        """Return the amount of one dimension as people write it."""
        if dimension == "gpus":
            return " and ".join(map(str, self.gpu_kinds)) or "no GPU"
        return amount_text(dimension, getattr(self, dimension))


def largest(dimension: str, offers: Iterable[ResourceVector]) -> ResourceVector:
    """Return the offer with the most of one dimension; the first of equals."""

    def size(offer: ResourceVector) -> tuple[int, int]:
        if dimension != "gpus":
            return (getattr(offer, dimension), 0)
        kinds = offer.gpu_kinds
        most = max((kind.count for kind in kinds), default=0)
        return (most, max((kind.memory_bytes for kind in kinds), default=0))

    return max(offers, key=size)


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


def _joined(kinds: Iterable[Gpus]) -> tuple[Gpus, ...]:
    counts: dict[Gpus, int] = {}
    for kind in kinds:
        one = msgspec.structs.replace(kind, count=1)
        counts[one] = counts.get(one, 0) + kind.count
    return tuple(
        msgspec.structs.replace(one, count=min(count, GPUS_MAX))
        for one, count in counts.items()
    )


def _left(kinds: tuple[Gpus, ...], taken: Iterable[Gpus]) -> tuple[Gpus, ...]:
    """Return what is left of some kinds; what there is not enough of is used up."""
    left = list(kinds)
    for each in taken:
        rest = each.count
        while rest and (kind := _source(each, rest, left)) is not None:
            place = left.index(kind)
            count = kind.count - rest
            rest = max(0, -count)
            left[place : place + 1] = (
                [msgspec.structs.replace(kind, count=count)] if count > 0 else []
            )
    return tuple(left)


def _source(wanted: Gpus, count: int, kinds: Sequence[Gpus]) -> Gpus | None:
    rest = msgspec.structs.replace(wanted, count=count)
    one = msgspec.structs.replace(wanted, count=1)
    return rest.best_of(kinds) or one.best_of(kinds)


def _fit(wanted: Iterable[Gpus], kinds: tuple[Gpus, ...]) -> bool:
    for each in wanted:
        if each.best_of(kinds) is None:
            return False
        kinds = _left(kinds, (each,))
    return True


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
