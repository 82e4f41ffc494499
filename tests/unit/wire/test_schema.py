"""Records come back as they were, and in no other way."""

from enum import StrEnum
from typing import Annotated, NewType

import msgspec
import pytest

from nunet_node.errors import MisuseError
from nunet_node.quantities import Count, ResourceVector
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import NonCanonicalError, SchemaError, TooLargeError
from nunet_node.wire.schema import (
    Record,
    decode_record,
    encode_record,
    from_plain,
    to_plain,
)

Name = NewType("Name", str)
CID = Cid.of_raw(b"input")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part(Record):
    size: Count = 0
    cid: Cid | None = None


class Whole(Record):
    name: Name
    digest: Annotated[bytes, msgspec.Meta(min_length=2, max_length=4)] = b"ab"
    colour: Colour = Colour.RED
    parts: tuple[Part, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    links: dict[str, Cid] = {}  # noqa: RUF012 - msgspec copies an empty one
    room: ResourceVector | None = None


class Circle(Record, tag_field="kind", tag="circle"):
    radius: Count


class Square(Record, tag_field="kind", tag="square"):
    side: Count


FULL = Whole(
    name=Name("job"),
    digest=b"xyz",
    colour=Colour.BLUE,
    parts=(Part(size=3, cid=CID), Part()),
    pairs=(("A", "1"),),
    links={"in": CID},
    room=ResourceVector(cpu_millis=500),
)


@pytest.mark.parametrize("record", [FULL, Whole(name=Name(""))])
def test_a_record_is_read_back(record):
    data = encode_record(record)
    assert decode_record(Whole, data, bytes_max=1000) == record
    assert from_plain(Whole, to_plain(record)) == record
    assert cbor.decode(data, bytes_max=1000) == to_plain(record)


def test_defaults_are_left_out():
    assert to_plain(Whole(name=Name("x"))) == {"name": "x"}


class Preset(Record):
    seconds: int = 3600
    text: str = "text"
    data: bytes = b"data"
    path: tuple[str, ...] = ("a", "b")
    room: ResourceVector = ResourceVector(cpu_millis=1000)
    colour: Colour = Colour.BLUE


class Derived(Preset):
    extra: int = 0


@pytest.mark.parametrize("kind", [Preset, Derived])
def test_a_default_is_left_out_even_if_it_was_computed(kind):
    computed = kind(
        seconds=int("3600"),
        text=str(b"text", "ascii"),
        data=bytes(bytearray(b"data")),
        path=tuple(["a", "b"]),  # noqa: C409 - a constant would be the default itself
        room=ResourceVector(cpu_millis=int("1000")),
    )
    assert to_plain(computed) == {}
    assert msgspec.structs.replace(computed, seconds=int("3600")) == kind()
    with pytest.raises(NonCanonicalError):
        decode_record(kind, cbor.encode({"text": "text"}), bytes_max=100)


@pytest.mark.parametrize("shape", [Circle(radius=1), Square(side=1)])
def test_a_tagged_union_finds_its_type(shape):
    data = encode_record(shape)
    assert decode_record(Circle | Square, data, bytes_max=100) == shape


def test_records_keep_the_rules_of_their_base():
    with pytest.raises(TypeError):
        Part(3)
    with pytest.raises(AttributeError):
        Part().size = 3
    assert hash(Part(size=1)) == hash(Part(size=1))


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"name": 1},
        {"name": b"x"},
        {"name": None},
        {"name": "x", "more": 1},
        {"name": "x", "digest": "YWJj"},
        {"name": "x", "digest": b"x"},
        {"name": "x", "digest": b"xxxxx"},
        {"name": "x", "colour": "green"},
        {"name": "x", "parts": {"size": 1}},
        {"name": "x", "parts": ({"size": True},)},
        {"name": "x", "parts": ({"size": -1},)},
        {"name": "x", "parts": ({"size": 2**53},)},
        {"name": "x", "parts": ({"size": "1"},)},
        {"name": "x", "parts": ({"cid": CID.to_bytes()},)},
        {"name": "x", "parts": ({"cid": str(CID)},)},
        {"name": "x", "pairs": (("a",),)},
        {"name": CID},
        (),
        "x",
        None,
    ],
)
def test_what_is_not_of_the_type_is_refused(plain):
    with pytest.raises(SchemaError):
        from_plain(Whole, plain)
    with pytest.raises(SchemaError):
        decode_record(Whole, cbor.encode(plain), bytes_max=1000)


@pytest.mark.parametrize(
    "plain",
    [
        {"name": "x", "digest": b"ab"},
        {"name": "x", "colour": "red"},
        {"name": "x", "parts": ()},
        {"name": "x", "links": {}},
        {"name": "x", "room": None},
        {"name": "x", "parts": ({"size": 0},)},
        {"name": "x", "room": {"cpu_millis": 1}},
    ],
)
def test_a_second_form_of_a_value_is_refused(plain):
    with pytest.raises(NonCanonicalError):
        from_plain(Whole, plain)
    with pytest.raises(NonCanonicalError):
        decode_record(Whole, cbor.encode(plain), bytes_max=1000)


@pytest.mark.parametrize(
    "plain", [{"radius": 1}, {"kind": "oval"}, {"kind": "square", "radius": 1}]
)
def test_a_union_takes_none_but_its_types(plain):
    with pytest.raises(SchemaError):
        from_plain(Circle | Square, plain)


def test_a_record_that_is_too_large_is_not_read():
    with pytest.raises(TooLargeError):
        decode_record(Whole, encode_record(FULL), bytes_max=10)
    with pytest.raises(TooLargeError):
        decode_record(Whole, encode_record(FULL), bytes_max=1000, items_max=5)


def test_a_record_with_a_strange_field_is_a_bug_of_ours():
    class Strange(Record):
        thing: complex = 0j
        number: int = 0

    with pytest.raises(MisuseError):
        from_plain(Strange, {"thing": 1})
    with pytest.raises(MisuseError):
        encode_record(Strange(number=2**64))
