"""Values in the shape of our records, made from the records' own types.

`fitting` draws plain values that a record could be read from, `shaped` the like with
one part replaced by something odd. So a fuzz gets past the first check of a decoder
and into the ones behind it, and a new record is fuzzed because it is one.
"""

import importlib
import pkgutil

import msgspec.inspect as mi
from hypothesis import strategies as st

import nunet_node
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

INT53_MAX = 2**53 - 1
LENGTH_MAX = 40
"""Longest text, bytes or array that is drawn where its type allows longer ones."""

CIDS = st.sampled_from([Cid.of_raw(b"a"), Cid.of_raw(b"b"), Cid.of_dag_cbor(b"c")])
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=8)
ODD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2**53, 2**63, 2**64 - 1, -(2**63)),
        *("", "x", "x" * 300, "\0", "..", "/", "did:key:z6Mk", "e\u0301"),
        *(b"", b"x", bytes(32), bytes(300), (), ((),), {}, {"a": 1}, {"": {}}),
        *(Cid.of_raw(b""), tuple(range(70)), {"kind": "stated"}),
    ]
)
LEAVES = ODD | st.binary(max_size=40) | st.text(max_size=10) | CIDS
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)


def records():
    """Return every record of the package, by its full name."""
    for module in pkgutil.walk_packages(nunet_node.__path__, "nunet_node."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {f"{k.__module__}.{k.__qualname__}": k for k in _below(Record)}


def _below(kind):
    for each in kind.__subclasses__():
        if each.__module__.startswith("nunet_node."):
            yield each
        yield from _below(each)


def fitting(kind):
    """Return a strategy of plain values that fit a type's schema."""
    return _fitting(mi.type_info(kind))


@st.composite
def shaped(draw, kind):
    """Draw a value that fits a type, one part of which is something else."""
    return _with_one_odd(draw, draw(fitting(kind)))


def _with_one_odd(draw, plain):
    if isinstance(plain, dict) and plain and draw(st.integers(0, 9)):
        name = draw(st.sampled_from(sorted(plain)))
        if draw(st.integers(0, 9)) == 0:
            return {key: value for key, value in plain.items() if key != name}
        return {**plain, name: _with_one_odd(draw, plain[name])}
    if isinstance(plain, tuple) and plain and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(plain) - 1))
        odd = _with_one_odd(draw, plain[place])
        return (*plain[:place], odd, *plain[place + 1 :])
    return draw(ODD)


def _fitting(found):  # noqa: PLR0911 - one way for each type
    match found:
        case mi.StructType():
            return _fields(found)
        case mi.DataclassType():
            parts = {each.encode_name: _fitting(each.type) for each in found.fields}
            return st.fixed_dictionaries(parts)
        case mi.UnionType():
            return st.one_of([_fitting(each) for each in found.types])
        case mi.IntType():
            return _integers(found)
        case mi.StrType():
            return _texts(found)
        case mi.BytesType():
            low, high = _lengths(found)
            return st.binary(min_size=low, max_size=high)
        case mi.VarTupleType():
            low, high = _lengths(found)
            items = _fitting(found.item_type)
            return st.lists(items, min_size=low, max_size=min(high, 4)).map(tuple)
        case mi.TupleType():
            return st.tuples(*(_fitting(each) for each in found.item_types))
        case mi.DictType():
            names, values = _fitting(found.key_type), _fitting(found.value_type)
            return st.dictionaries(names, values, max_size=3)
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case mi.EnumType():
            return st.sampled_from([each.value for each in found.cls])
        case mi.LiteralType():
            return st.sampled_from(found.values)
        case mi.CustomType():
            return CIDS
        case mi.Metadata():
            return _fitting(found.type)
        case mi.AnyType():
            return ANYTHING
    raise AssertionError(f"no values are known of {found}")


def _fields(found):
    required, optional = {}, {}
    for field in found.fields:
        values = _fitting(field.type)
        if field.required or not found.cls.__struct_config__.omit_defaults:
            required[field.encode_name] = values
        elif isinstance(field.default, bool):
            optional[field.encode_name] = st.just(not field.default)
        else:
            # A default that is spelt out is no form of the record.
            default = field.default
            optional[field.encode_name] = values.filter(lambda v, d=default: v != d)
    if found.tag_field:
        required[found.tag_field] = st.just(found.tag)
    return st.fixed_dictionaries(required, optional=optional)


def _integers(found):
    low = found.ge if found.ge is not None else -100
    high = found.le if found.le is not None else max(low, 0) + 1000
    if found.gt is not None:
        low = found.gt + 1
    if found.lt is not None:
        high = found.lt - 1
    if found.multiple_of:
        return st.integers(low // found.multiple_of + 1, 5).map(
            lambda n: n * found.multiple_of
        )
    return st.integers(low, min(high, INT53_MAX))


def _texts(found):
    low, high = _lengths(found)
    ascii_only = st.characters(codec="ascii")
    if found.pattern is not None:
        texts = st.from_regex(found.pattern, alphabet=ascii_only, fullmatch=True)
        return texts.filter(lambda text: low <= len(text))
    return st.text(ascii_only, min_size=low, max_size=high)


def _lengths(found):
    low = found.min_length or 0
    longest = found.max_length if found.max_length is not None else LENGTH_MAX
    return low, max(low, min(longest, LENGTH_MAX))
