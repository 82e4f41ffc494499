"""The keys of the documents are a contract: always there, null where unknown."""

import json

import msgspec

from nunet_node.client.documents import (
    job_document,
    node_documents,
    order_document,
    status_document,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import open_statement, seal
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.link import parse_link
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.jobs.statements import Confirmation, Move, Queue, Report
from nunet_node.market.offers import ADVERT, Advert, EngineOffer
from nunet_node.protocol.facts import BidKept
from nunet_node.protocol.order import Award, Order
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.wire.cid import Cid

JOB = JobId("a" * 32)
OWNER = SigningKey(bytes([1]) * 32).did
PROVIDER = SigningKey(bytes([2]) * 32)
ROOM = ResourceVector(cpu_millis=1, memory_bytes=2, disk_bytes=3)
SPEC = JobSpec(name="co2", engine=Engine.PYTHON, command=("a.py",), resources=ROOM)
SHORT = ["job", "name", "state", "owner", "provider", "exit_code", "reason", "result"]


def plain(document):
    return json.loads(msgspec.json.encode(document))


def award(accepted=None):
    return Award(
        attempt=1,
        provider=PROVIDER.did,
        peer_id="p",
        addresses=("/ip4/192.0.2.1/tcp/1",),
        at_s=0,
        accepted=accepted,
    )


def test_a_job_of_which_nothing_is_known_has_every_key():
    assert list(order_document(Order(job=JOB))) == SHORT
    assert plain(status_document(Order(job=JOB))) == {
        "job": JOB,
        "name": None,
        "state": "queued",
        "owner": None,
        "provider": None,
        "exit_code": None,
        "reason": "",
        "result": None,
        "resources": None,
        "queue": None,
        "retention": None,
        "history": [],
        "bids": [],
    }


def test_a_status_has_resources_queue_history_and_bids():
    order = Order(
        job=JOB,
        owner=OWNER,
        spec=SPEC,
        queue=Queue(position=2, reason="busy", estimate_s=60),
        history=(Move(state=State.QUEUED, at_s=7, reason="busy"),),
        bids=(
            BidKept(job=JOB, provider=PROVIDER.did, price_micro_ntx=250_000),
            BidKept(job=JOB, provider=OWNER, refused="too small"),
        ),
    )
    shown = plain(status_document(order))

    assert shown["resources"] == {
        "cpu_millis": 1,
        "memory_bytes": 2,
        "disk_bytes": 3,
    }
    assert shown["queue"] == {"position": 2, "reason": "busy", "estimate_s": 60}
    assert shown["history"] == [{"state": "queued", "at": 7, "reason": "busy"}]
    assert shown["bids"] == [
        {"provider": PROVIDER.did, "price": "0.25", "refused": None},
        {"provider": OWNER, "price": None, "refused": "too small"},
    ]


def test_the_provider_s_newer_word_counts():
    report = Report(
        job=JOB,
        owner=OWNER,
        name="co2",
        attempt=1,
        state=State.COMPLETED,
        resources=ROOM,
        history=(Move(state=State.COMPLETED, at_s=9),),
        exit_code=0,
        result=Cid.of_raw(b"r"),
    )
    shown = status_document(Order(job=JOB, award=award()), report)

    assert (shown["state"], shown["exit_code"], shown["owner"]) == (
        "completed",
        0,
        OWNER,
    )
    assert shown["provider"] == PROVIDER.did
    assert shown["result"]["cid"] == str(Cid.of_raw(b"r"))
    link = parse_link(shown["result"]["link"])
    assert (link.job, link.owner, link.custodian) == (JOB, OWNER, PROVIDER.did)


def test_a_cancel_shows_the_signed_confirmation():
    confirmed = Confirmation(
        job=JOB,
        owner=OWNER,
        attempt=1,
        state=State.COMPLETED,
        at_s=5,
        already_ended=True,
    )
    shown = job_document(Order(job=JOB, confirmation=confirmed, award=award()))

    assert (shown["job"], shown["state"]) == (JOB, "completed")
    assert shown["confirmation"]["already_ended"]
    assert shown["confirmation"]["provider"] == PROVIDER.did


def test_a_cancel_that_no_provider_had_to_confirm_has_none():
    shown = job_document(Order(job=JOB, state=State.CANCELLED))

    assert shown == {"job": JOB, "state": "cancelled", "confirmation": None}


def test_a_node_shows_its_ready_engines_and_its_room():
    advert = Advert(
        peer_id="p",
        addresses=(),
        sequence=1,
        engines=(
            EngineOffer(engine="wasm", isolation="x"),
            EngineOffer(engine="python", isolation="x", ready=False),
        ),
        total=ROOM,
        free=ROOM,
    )
    data = seal(
        advert,
        kind=ADVERT,
        signer=PROVIDER,
        audience="*",
        now_s=100,
        ttl_s=60,
        nonce=bytes(16),
    )
    heard = open_statement(
        data, kind=ADVERT, payload_type=Advert, now_s=100, audience="*"
    )
    shown = node_documents([heard], 107)[0]

    assert (shown["did"], shown["peer_id"]) == (PROVIDER.did, "p")
    assert shown["engines"] == ["wasm"]
    whole = plain(ROOM)
    assert shown["total"] == shown["free"] == whole
    assert shown["largest"] == [whole]
    assert shown["seen_s"] == 7


def test_gpus_are_shown_where_there_are_some():
    kind = Gpus(vendor="nvidia", model="Tesla T4", memory_bytes=15, count=2)
    spec = JobSpec(
        name="work",
        engine=Engine.PROCESS,
        command=("true",),
        resources=ResourceVector(cpu_millis=1).with_gpus([kind]),
    )
    shown = status_document(Order(job=JOB, spec=spec))["resources"]
    assert shown["gpus"] == [
        {"vendor": "nvidia", "model": "Tesla T4", "memory_bytes": 15, "count": 2}
    ]
