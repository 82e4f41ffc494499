"""The keys of the documents are a contract: always there, null where unknown."""

import json

import msgspec

from nunet_node.client.documents import (
    job_document,
    node_documents,
    order_document,
    status_document,
)
from nunet_node.client.fetching.copies import Copy, known_by
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import open_statement, seal
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.link import parse_link
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.jobs.statements import Confirmation, Move, Queue, Receipt, Report
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


def kept_job():
    return Order(
        job=JOB,
        owner=OWNER,
        spec=msgspec.structs.replace(SPEC, replicas=2, retention_s=100),
        award=award(),
        state=State.COMPLETED,
        result=Cid.of_dag_cbor(b"result"),
        history=(Move(state=State.COMPLETED, at_s=7),),
    )


def receipt(kept_until_s):
    return Receipt(
        job=JOB,
        owner=OWNER,
        attempt=1,
        spec=Cid.of_dag_cbor(b"spec"),
        state=State.COMPLETED,
        engine="python",
        isolation="",
        started_s=1,
        ended_s=7,
        result=Cid.of_dag_cbor(b"result"),
        result_bytes=1,
        kept_until_s=kept_until_s,
    )


def test_copies_that_were_found_are_told_as_such():
    copies = [Copy(holder=PROVIDER.did, receipt=receipt(900))]
    shown = status_document(kept_job(), copies=copies, now_s=50)["retention"]
    assert shown == {
        "until": 900,
        "expired": False,
        "replicas_wanted": 2,
        "replicas": [PROVIDER.did],
        "replicas_told_by": "holders",
    }


def test_that_nobody_was_asked_for_copies_is_not_that_there_are_none():
    unasked = status_document(kept_job(), now_s=50)["retention"]
    none_found = status_document(kept_job(), copies=[], now_s=50)["retention"]
    assert (unasked["replicas"], unasked["replicas_told_by"]) == (None, None)
    assert (none_found["replicas"], none_found["replicas_told_by"]) == ([], "holders")
    assert unasked["until"] == none_found["until"] == 107


def test_a_receipt_tells_of_a_job_of_which_nothing_else_does():
    copies = [Copy(holder=PROVIDER.did, receipt=receipt(900))]
    told = known_by(Order(job=JOB, award=award()), copies)
    shown = status_document(told, copies=copies, now_s=50)
    assert (shown["state"], shown["owner"]) == ("completed", OWNER)
    assert shown["result"]["cid"] == str(Cid.of_dag_cbor(b"result"))
    assert shown["retention"]["until"] == 900

    assert known_by(kept_job(), copies) == kept_job()
    assert known_by(Order(job=JOB), []) == Order(job=JOB)
