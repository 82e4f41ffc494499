"""Every message kind has bytes that never change, and a schema that is published."""

import json

import pytest

from nunet_node.capability.delegation import open_delegation
from nunet_node.capability.held.parcel import unpack
from nunet_node.capability.revocation import open_revocation
from nunet_node.errors import PeerError
from nunet_node.identity.statement import open_statement
from nunet_node.protocol.messages import Frame
from nunet_node.protocol.opening import STATEMENTS
from nunet_node.wire import cbor
from nunet_node.wire.schema import decode_record, encode_record, to_plain
from tests.vectors import cddl, samples
from tests.vectors.samples import ARGUMENTS, BODIES, BULK, NOW_S, PAYLOADS, dag_json

VECTORS = json.loads(samples.FILE.read_text())["vectors"]
LARGEST = 1 << 20


def of(what):
    chosen = [each for each in VECTORS if each["is"] == what]
    return pytest.mark.parametrize(
        "vector", chosen, ids=[each["name"] for each in chosen]
    )


def records():
    """Return every kind of record with a whole sample of it, as plain values."""
    found = {f"statement {kind}": record for kind, record in PAYLOADS.items()}
    found |= {f"arguments {name}": record for name, record in ARGUMENTS.items()}
    found |= {f"body {body.__name__}": body for body in (*BODIES, *BULK)}
    return [
        pytest.param(record, to_plain(samples.sample(record, full=True)), id=name)
        for name, record in found.items()
    ]


def test_the_committed_bytes_are_those_that_are_made_today():
    assert samples.FILE.read_text() == samples.text()


def test_the_published_schema_is_the_one_that_reads():
    assert cddl.FILE.read_text() == cddl.text()


def test_every_kind_of_statement_has_a_vector():
    assert {each["kind"] for each in VECTORS if each["is"] == "statement"} == {
        *STATEMENTS,
        "advert",
    }


@of("statement")
def test_a_statement_says_its_value(vector):
    record = PAYLOADS[vector["kind"]]
    opened = open_statement(
        bytes.fromhex(vector["hex"]),
        kind=vector["kind"],
        payload_type=record,
        now_s=NOW_S,
        audience=vector["audience"],
    )
    assert opened.issuer == vector["issuer"]
    assert dag_json(to_plain(opened.payload)) == vector["value"]


@of("frame")
def test_a_frame_says_its_value_and_is_written_the_same(vector):
    data = bytes.fromhex(vector["hex"])
    frame = decode_record(Frame, data, bytes_max=LARGEST)
    assert dag_json(to_plain(frame)) == vector["value"]
    assert encode_record(frame) == data


@of("bulk")
def test_a_bulk_frame_says_its_value_and_is_written_the_same(vector):
    record = {each.__struct_config__.tag: each for each in BULK}[
        vector["value"]["kind"]
    ]
    data = bytes.fromhex(vector["hex"])
    body = decode_record(record, data, bytes_max=LARGEST)
    assert dag_json(to_plain(body)) == vector["value"]
    assert encode_record(body) == data


@of("arguments")
def test_arguments_say_their_value_and_are_written_the_same(vector):
    record = ARGUMENTS[vector["name"].partition(",")[0]]
    data = bytes.fromhex(vector["hex"])
    args = decode_record(record, data, bytes_max=LARGEST)
    assert dag_json(to_plain(args)) == vector["value"]
    assert encode_record(args) == data


@of("token")
def test_a_token_says_its_value_and_verifies(vector):
    data = bytes.fromhex(vector["hex"])
    assert dag_json(cbor.decode(data, bytes_max=LARGEST)) == vector["value"]
    if vector["name"].startswith("delegation"):
        assert open_delegation(data).data == data
    elif vector["name"] == "revocation":
        assert open_revocation(data).data == data


@of("text")
def test_a_parcel_holds_its_chain(vector):
    assert bytes.fromhex(vector["hex"]).decode() == vector["value"]
    assert len(unpack(vector["value"])) == 1


@pytest.mark.parametrize(("record", "plain"), records())
def test_an_unknown_field_is_refused(record, plain):
    data = cbor.encode({**plain, "zzz": 1})
    with pytest.raises(PeerError):
        decode_record(record, data, bytes_max=LARGEST)


@pytest.mark.parametrize(("record", "plain"), records())
def test_a_missing_field_is_refused(record, plain):
    least = to_plain(samples.sample(record, full=False))
    for name in least:
        data = cbor.encode({k: v for k, v in plain.items() if k != name})
        with pytest.raises(PeerError):
            decode_record(record, data, bytes_max=LARGEST)


@pytest.mark.parametrize(("record", "plain"), records())
def test_a_field_of_another_type_is_refused(record, plain):
    for name in plain:
        odd = {"a": 1} if not isinstance(plain[name], dict) else 5
        data = cbor.encode({**plain, name: odd})
        with pytest.raises(PeerError):
            decode_record(record, data, bytes_max=LARGEST)


@pytest.mark.parametrize(("record", "plain"), records())
def test_a_truth_is_no_number_and_a_text_is_no_bytes(record, plain):
    for name, value in plain.items():
        if isinstance(value, int) and not isinstance(value, bool):
            odd = True
        elif isinstance(value, bytes):
            odd = "text"
        elif isinstance(value, str):
            odd = b"bytes"
        else:
            continue
        with pytest.raises(PeerError):
            decode_record(record, cbor.encode({**plain, name: odd}), bytes_max=LARGEST)
