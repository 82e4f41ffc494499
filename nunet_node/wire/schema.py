"""Records: typed, frozen values, each with exactly one encoding.

Rule: a record that was read is written again and compared with what was read, so
no leniency of the reader (a default that is spelt out, an alternative form) becomes
a second encoding of the same value.
"""

from functools import cache
from typing import Any, Final, TypeVar, overload

import msgspec

from nunet_node.errors import MisuseError
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import NonCanonicalError, SchemaError
from nunet_node.wire.limits import DEPTH_MAX, ITEMS_MAX

T = TypeVar("T")

_BUILTIN_TYPES: Final = (bytes, Cid)
_RULES: Final = {
    "frozen": True,
    "kw_only": True,
    "forbid_unknown_fields": True,
    "omit_defaults": True,
}


class _RecordMeta(msgspec.StructMeta):
    """Gives every record the same rules, which a base class alone cannot hand down."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **rules: Any,
    ) -> Any:
        if any(_has_copies(name, value) for name, value in namespace.items()):
            namespace = {**namespace, "__post_init__": _restore_defaults}
        return super().__new__(cls, name, bases, namespace, **{**_RULES, **rules})


def _has_copies(name: str, default: object) -> bool:
    # There is only one False, one zero and one empty text, bytes or tuple.
    return bool(
        default
        and default is not True
        and isinstance(default, int | str | bytes | tuple | msgspec.Struct)
        and not name.startswith("__")
    )


def _restore_defaults(record: msgspec.Struct) -> None:
    """Put each field's default itself in the place of a value that is equal to it.

    A field is left out if it *is* its default; an equal value that was read or
    computed would be spelt out, and the record would have two encodings.
    """
    for name, default in _defaults(type(record)):
        value = getattr(record, name)
        if value is not default and value == default:
            msgspec.structs.force_setattr(record, name, default)


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    fields = msgspec.structs.fields(kind)
    return tuple((f.name, f.default) for f in fields if _has_copies(f.name, f.default))


class Record(msgspec.Struct, metaclass=_RecordMeta):
    """The base of every value that travels or is kept; give each field a bound.

    Records are frozen, made by keyword, refuse unknown fields and leave out fields
    that have their default value. They have no ``__post_init__`` of their own.
    """


def to_plain(record: object) -> Any:
    """Return a record as maps, tuples, bytes, text and integers."""
    return msgspec.to_builtins(record, builtin_types=_BUILTIN_TYPES)


@overload
def from_plain(kind: type[T], plain: object) -> T: ...
@overload
def from_plain(kind: Any, plain: object) -> Any: ...
def from_plain(kind: Any, plain: object) -> Any:
    """Return the record of this type, or of one type of a tagged union.

    Raises:
        SchemaError: a field is missing, unknown, of another type or out of bounds.
        NonCanonicalError: it is not the record's only form.
    """
    record = _convert(kind, plain)
    # Equal values are one encoding: types were taken strictly, so no number stands
    # for a truth. What only differs in kind of sequence is compared as bytes.
    if to_plain(record) != plain and encode_record(record) != cbor.encode(plain):
        raise NonCanonicalError("not the only form of this value")
    return record


def encode_record(record: object) -> bytes:
    """Return a record's only encoding.

    Raises:
        MisuseError: a field holds what cannot be encoded.
    """
    return cbor.encode(to_plain(record))


@overload
def decode_record(
    kind: type[T],
    data: bytes,
    *,
    bytes_max: int,
    items_max: int = ...,
    depth_max: int = ...,
) -> T: ...
@overload
def decode_record(
    kind: Any,
    data: bytes,
    *,
    bytes_max: int,
    items_max: int = ...,
    depth_max: int = ...,
) -> Any: ...
def decode_record(
    kind: Any,
    data: bytes,
    *,
    bytes_max: int,
    items_max: int = ITEMS_MAX,
    depth_max: int = DEPTH_MAX,
) -> Any:
    """Read a record of this type, or of one type of a tagged union.

    Raises:
        WireError: the bytes are not the only encoding of such a record.
    """
    plain = cbor.decode(data, bytes_max, depth_max, items_max)
    record = _convert(kind, plain)
    # The bytes were the only encoding of these values, so equal values are enough.
    if to_plain(record) != plain:
        raise NonCanonicalError("not the only form of this value")
    return record


def _convert(kind: Any, plain: object) -> Any:
    try:
        return msgspec.convert(plain, kind, builtin_types=(bytes,), dec_hook=_same)
    except msgspec.ValidationError as error:
        raise SchemaError(str(error)) from None


def _same(kind: type, value: object) -> object:
    """Let a content id through as it stands; msgspec asks for any type not its own."""
    if kind is not Cid:
        raise MisuseError(f"records cannot hold a {kind.__name__}")
    if not isinstance(value, Cid):
        raise msgspec.ValidationError("Expected a content id")
    return value
