"""A sample of every message kind, made from nothing but its type.

`python -m tests.vectors.samples` writes `messages.json`: the bytes of each sample and
what they say, in DAG-JSON, for whoever writes another implementation. The file is
committed and must not change: other bytes for the same value are another protocol.
"""

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.held.parcel import pack
from nunet_node.capability.invocation import seal_invocation
from nunet_node.capability.revocation import seal_revocation
from nunet_node.identity.keys import SECRET_KEYS, SigningKey
from nunet_node.identity.statement import ANYONE, seal, topic_audience
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, Advert
from nunet_node.protocol import messages
from nunet_node.protocol.opening import STATEMENTS
from nunet_node.protocol.provider.commands import JobArgs, WatchArgs
from nunet_node.protocol.provider.submission import SubmitArgs
from nunet_node.protocol.replicas.holding import KeepArgs
from nunet_node.runtime.exchange.bulk.serving import (
    Come,
    Coming,
    Ticket,
    TicketWanted,
)
from nunet_node.runtime.exchange.handover import Offer, Staged
from nunet_node.runtime.exchange.logs import Begin, End, Follow, Kept, Piece
from nunet_node.runtime.exchange.requests import Block, No, Want
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, encode_record, to_plain

FILE = Path(__file__).with_name("messages.json")
NOW_S = 1_700_000_000
ALICE, BOB = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))

BODIES = (
    messages.AdvertsWanted,
    messages.Adverts,
    messages.ChallengeWanted,
    messages.Invoke,
    messages.Stated,
    messages.Refused,
    messages.RevocationsWanted,
    messages.Revocations,
)
BULK = (
    TicketWanted,
    Ticket,
    Come,
    Coming,
    Want,
    Block,
    No,
    Offer,
    Staged,
    Follow,
    Begin,
    Kept,
    Piece,
    End,
)
"""What the frames of block and log streams carry."""
ARGUMENTS = {
    "submit": SubmitArgs,
    "job": JobArgs,
    "watch": WatchArgs,
    "keep": KeepArgs,
}
PAYLOADS: dict[str, type[Any]] = {
    ADVERT: Advert,
    **{kind: record for kind, (record, _) in STATEMENTS.items()},
}
"""The record of every kind of statement."""


def sample(kind: Any, *, full: bool) -> Any:
    """Return a value of this type: with every field, or with those it must have."""
    info = inspect.type_info(kind)
    made = _struct(info, full=full)
    return msgspec.convert(made, kind, builtin_types=(bytes,), dec_hook=_same)


def _same(_kind: type, value: object) -> object:
    return value


def _struct(info: inspect.StructType, *, full: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if info.tag_field is not None:
        made[info.tag_field] = info.tag
    for each in info.fields:
        if each.required or full:
            made[each.encode_name] = _value(each.type, each.encode_name, full=full)
    return made


def _value(info: Any, name: str, *, full: bool) -> Any:  # noqa: PLR0911 - one line for each type
    match info:
        case inspect.StructType():
            return _struct(info, full=full)
        case inspect.UnionType(types=types):
            some = [t for t in types if not isinstance(t, inspect.NoneType)]
            return _value(some[0], name, full=full)
        case inspect.IntType(ge=least, le=most):
            return min(7 if least is None else max(least, 7), most or 7)
        case inspect.StrType(max_length=most, pattern=pattern):
            if name in DOMAIN_FIELDS:
                return "*.data.example"
            did = name in DID_FIELDS and (most is None or most > len(ALICE.did))
            text = ALICE.did if did else f"a {name}"[: most or 64]
            return text if pattern is None or re.search(pattern, text) else name
        case inspect.BytesType(min_length=least, max_length=most):
            return bytes(range(min(max(least or 0, 4), most or 32)))
        case inspect.BoolType():
            return True
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
        case inspect.VarTupleType(item_type=item, min_length=least):
            return tuple(
                _value(item, name, full=full) for _ in range(max(1, least or 0))
            )
        case inspect.DictType():
            return {"a": "b"}
        case inspect.CustomType():
            return Cid.of_raw(name.encode())
        case inspect.LiteralType(values=values):
            return values[0]
    raise TypeError(info)


DOMAIN_FIELDS = frozenset({"domain", "http"})
DID_FIELDS = frozenset({"owner", "subject", "verifier", "anchors", "provider"})


def vectors() -> list[dict[str, Any]]:
    """Return every vector."""
    made = [*_statements(), *_frames(), *_bulk(), *_arguments(), *_tokens()]
    return [{**each, "hex": each["hex"].hex()} for each in made]


def _statements() -> list[dict[str, Any]]:
    found = []
    for kind, record in sorted(PAYLOADS.items()):
        for full in (False, True):
            payload = sample(record, full=full)
            audience = topic_audience(ADVERT_TOPIC) if kind == ADVERT else BOB.did
            data = seal(
                payload,
                kind=kind,
                signer=ALICE,
                audience=audience,
                now_s=NOW_S,
                ttl_s=60,
                nonce=bytes(range(16)),
            )
            name = f"{kind}, {'every field' if full else 'required fields'}"
            found.append(
                {
                    "name": name,
                    "is": "statement",
                    "kind": kind,
                    "issuer": ALICE.did,
                    "audience": audience,
                    "hex": data,
                    "value": dag_json(to_plain(payload)),
                }
            )
    return found


def _frames() -> list[dict[str, Any]]:
    found = []
    for body in BODIES:
        for full in (False, True):
            frame = messages.Frame(
                id=1, body=sample(body, full=full), re=2 if full else None
            )
            found.append(_record(f"{_tag(body)}, {_how(full)}", "frame", frame))
    return found


def _bulk() -> list[dict[str, Any]]:
    return [
        _record(f"{_tag(body)}, {_how(full)}", "bulk", sample(body, full=full))
        for body in BULK
        for full in (False, True)
    ]


def _arguments() -> list[dict[str, Any]]:
    return [
        _record(f"{name}, {_how(full)}", "arguments", sample(record, full=full))
        for name, record in ARGUMENTS.items()
        for full in (False, True)
    ]


def _tokens() -> list[dict[str, Any]]:
    delegation = seal_delegation(
        signer=ALICE,
        audience=BOB.did,
        subject=ALICE.did,
        command="/nunet/job",
        nonce=bytes(range(12)),
        expires_at_s=NOW_S,
        policy=[("<=", ".spec.resources.cpu_millis", 2000)],
        not_before_s=7,
        meta={"nunet/budget": {"jobs": 3}},
    )
    invocation = seal_invocation(
        signer=BOB,
        subject=ALICE.did,
        audience=BOB.did,
        command="/nunet/job/status",
        args={"job": "a" * 32, "challenge": bytes(32)},
        nonce=bytes(range(12)),
        expires_at_s=NOW_S,
        proofs=[Cid.of_dag_cbor(delegation)],
    )
    revocation = seal_revocation(
        signer=ALICE, tokens=[delegation], nonce=bytes(range(12)), now_s=NOW_S
    )
    tokens = {
        "delegation": delegation,
        "invocation": invocation,
        "revocation": revocation,
        **{
            f"delegation by a key on {curve}": _delegation_of(curve)
            for curve in sorted(SECRET_KEYS)
        },
    }
    found = [
        {"name": name, "is": "token", "hex": data, "value": _said(data)}
        for name, data in tokens.items()
    ]
    parcel = pack([delegation])
    return [
        *found,
        {"name": "parcel", "is": "text", "hex": parcel.encode(), "value": parcel},
    ]


def _delegation_of(curve: str) -> bytes:
    return seal_delegation(
        signer=SECRET_KEYS[curve](bytes(range(32))),
        audience=BOB.did,
        subject=None,
        command="/",
        nonce=bytes(range(12)),
        expires_at_s=NOW_S,
    )


def _said(data: bytes) -> Any:
    return dag_json(cbor.decode(data, bytes_max=len(data)))


def _record(name: str, what: str, record: Record) -> dict[str, Any]:
    return {
        "name": name,
        "is": what,
        "hex": encode_record(record),
        "value": dag_json(to_plain(record)),
    }


def _tag(body: type[Any]) -> str:
    return str(body.__struct_config__.tag)


def _how(full: bool) -> str:
    return "every field" if full else "required fields"


def dag_json(value: Any) -> Any:
    """Return a value as DAG-JSON has it, for `json.dumps`."""
    match value:
        case bytes():
            text = base64.b64encode(value).decode().rstrip("=")
            return {"/": {"bytes": text}}
        case Cid():
            return {"/": str(value)}
        case dict():
            return {name: dag_json(each) for name, each in value.items()}
        case tuple() | list():
            return [dag_json(each) for each in value]
        case _:
            return value


def text() -> str:
    """Return the text of the file of vectors."""
    document = {
        "about": "see docs/protocol; values are DAG-JSON",
        "now_s": NOW_S,
        "anyone": ANYONE,
        "vectors": vectors(),
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stderr.write(f"wrote {FILE.name}\n")
