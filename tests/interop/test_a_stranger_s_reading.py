"""What is published is enough to read it: vectors, schema and keys.

Nothing of the package is imported: `stranger/` is written from docs/protocol alone.
"""

import json
from pathlib import Path

import pytest

from tests.interop.stranger import client, schema, trees, wire
from tests.interop.stranger.schema import published
from tests.interop.stranger.wire import Identity

VECTORS = Path(__file__).parents[1] / "vectors"
MESSAGES = json.loads((VECTORS / "messages.json").read_text())
WIRE = json.loads((VECTORS / "wire.json").read_text())
RESULTS = json.loads((VECTORS / "results.json").read_text())


def of(what):
    chosen = [each for each in MESSAGES["vectors"] if each["is"] == what]
    return pytest.mark.parametrize(
        "vector", chosen, ids=[each["name"] for each in chosen]
    )


@of("statement")
def test_a_statement_opens_and_fits_the_schema(vector):
    opened = wire.open_statement(
        bytes.fromhex(vector["hex"]),
        vector["kind"],
        vector["audience"],
        now_s=MESSAGES["now_s"],
    )
    assert opened.issuer == vector["issuer"]
    schema.check(vector["kind"], opened.value)


@of("frame")
def test_a_frame_fits_the_schema(vector):
    assert published().fits("frame", wire.decode(bytes.fromhex(vector["hex"])))


@of("bulk")
def test_a_bulk_frame_fits_the_schema(vector):
    value = wire.decode(bytes.fromhex(vector["hex"]))
    assert published().fits(value["kind"], value)


@of("arguments")
def test_arguments_fit_the_schema(vector):
    rule = f"{vector['name'].partition(',')[0]}-arguments"
    assert published().fits(rule, wire.decode(bytes.fromhex(vector["hex"])))


@of("token")
def test_a_token_fits_the_schema(vector):
    value = wire.decode(bytes.fromhex(vector["hex"]))
    if vector["name"] == "revocation":
        assert published().fits("revocation", value)
        return
    ((tag, payload),) = (item for item in value[1].items() if item[0] != "h")
    rule = {"dlg": "delegation-payload", "inv": "invocation-payload"}
    assert published().fits(rule[tag.removeprefix("ucan/")[:3]], payload)


def test_the_schema_refuses_what_the_pages_refuse():
    whole = {"id": 1, "body": {"kind": "adverts-wanted"}}
    assert published().fits("frame", whole)
    for odd in (
        {**whole, "re": None},
        {**whole, "id": 0},
        {**whole, "more": 1},
        {"id": 1},
        {"id": True, "body": {"kind": "adverts-wanted"}},
        {**whole, "body": {"kind": "revocations", "more": False}},
        {**whole, "body": {"kind": "revocations", "items": []}},
    ):
        assert not published().fits("frame", odd), odd


def test_seeds_make_the_published_names():
    for name, seed in WIRE["seeds"].items():
        identity = Identity(bytes.fromhex(seed))
        assert identity.did == WIRE["dids"][name]
        assert identity.peer_id == WIRE["peer_ids"][name]


def test_a_job_has_the_published_id():
    said = WIRE["job"]
    spec = wire.decode(bytes.fromhex(said["spec"]))
    assert published().fits("job-spec", spec)
    salt = bytes.fromhex(said["salt"])
    assert client.job_id(said["owner"], spec, salt) == said["job"]


def test_the_published_result_opens_with_its_owner_s_key():
    files = {path: bytes.fromhex(data) for path, data in RESULTS["files"].items()}
    plain, sealed = trees.pack(files), RESULTS["sealed"]
    assert "b" + wire.base32(plain.root) == RESULTS["plain"]["root"]
    pieces = [bytes.fromhex(piece) for piece in sealed["pieces"]]
    outer = trees.pack({"sealed-0000": b"".join(pieces)})
    assert "b" + wire.base32(outer.root) == sealed["root"]
    owner = Identity(bytes.fromhex(sealed["owner_seed"]))
    wrapped = bytes.fromhex(sealed["sealed_key"])
    key = trees.result_key(wrapped, owner, sealed["job"], outer.root)
    assert key.hex() == sealed["key"]
    stored = {"sealed-0000": pieces[0]}
    assert trees.unsealed(stored, key, sealed["job"], sealed["attempt"]) == files
