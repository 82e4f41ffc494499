"""What a provider signs about a job says all it must, and nothing unbounded."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import (
    ACCEPTED,
    CONFIRMATION,
    HISTORY_MAX,
    NOTICE,
    REASON_CHARS_MAX,
    RECEIPT,
    REPORT,
    Accepted,
    Confirmation,
    Move,
    Notice,
    Queue,
    Receipt,
    Report,
)
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import SchemaError
from nunet_node.wire.schema import decode_record, encode_record, from_plain, to_plain

WHOSE = {
    "job": JobId("a" * 32),
    "owner": SigningKey(bytes(32)).did,
    "attempt": 1,
}
CID = Cid.of_dag_cbor(b"\xa0")
MOVE = Move(state=State.QUEUED, at_s=1)
STATEMENTS = [
    Accepted(**WHOSE, spec=CID, state=State.QUEUED, lease_until_s=9, queue=None),
    Notice(
        **WHOSE,
        sequence=2,
        previous=bytes(32),
        state=State.QUEUED,
        at_s=5,
        queue=Queue(position=1, reason="memory is taken", estimate_s=60),
    ),
    Report(
        **WHOSE,
        name="co2",
        state=State.RUNNING,
        resources=ResourceVector(cpu_millis=1000),
        history=(MOVE,),
    ),
    Receipt(
        **WHOSE,
        spec=CID,
        state=State.COMPLETED,
        engine="python",
        isolation="wasi",
        started_s=1,
        ended_s=2,
        result=CID,
        result_bytes=3,
        exit_code=0,
    ),
    Confirmation(**WHOSE, state=State.CANCELLED, at_s=7),
]


@pytest.mark.parametrize("said", STATEMENTS, ids=lambda said: type(said).__name__)
def test_every_statement_comes_back_as_it_was(said):
    data = encode_record(said)
    assert decode_record(type(said), data, bytes_max=len(data)) == said


@pytest.mark.parametrize("said", STATEMENTS, ids=lambda said: type(said).__name__)
def test_every_statement_names_the_job_its_owner_and_the_attempt(said):
    for name in WHOSE:
        plain = to_plain(said)
        del plain[name]
        with pytest.raises(SchemaError):
            from_plain(type(said), plain)


@pytest.mark.parametrize("said", STATEMENTS, ids=lambda said: type(said).__name__)
def test_no_statement_carries_what_it_does_not_know(said):
    with pytest.raises(SchemaError):
        from_plain(type(said), {**to_plain(said), "extra": 1})


@pytest.mark.parametrize("attempt", [0, 17, -1, True])
def test_an_attempt_is_one_of_those_a_history_can_keep(attempt):
    plain = {**to_plain(STATEMENTS[4]), "attempt": attempt}
    with pytest.raises(SchemaError):
        from_plain(Confirmation, plain)


def test_a_reason_is_at_most_two_sentences():
    plain = {**to_plain(STATEMENTS[4]), "reason": "x" * REASON_CHARS_MAX}
    assert from_plain(Confirmation, plain).reason
    with pytest.raises(SchemaError):
        from_plain(Confirmation, {**plain, "reason": "x" * (REASON_CHARS_MAX + 1)})


def test_a_history_is_bounded():
    plain = to_plain(STATEMENTS[2])
    moves = (to_plain(MOVE),) * (HISTORY_MAX + 1)
    with pytest.raises(SchemaError):
        from_plain(Report, {**plain, "history": moves})


def test_no_two_kinds_share_a_name():
    kinds = {ACCEPTED, NOTICE, REPORT, RECEIPT, CONFIRMATION}
    assert len(kinds) == 5
