"""An answer counts only for the question that it fits."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.statements import LogReceipt
from nunet_node.protocol import effects as fx
from nunet_node.protocol.messages import LOGS, READ, STATUS
from nunet_node.protocol.replicas.events import LogCopyGranted
from nunet_node.protocol.requester.answering import tell_answer
from nunet_node.protocol.requester.memory import Errand, Mandate, Outcome
from nunet_node.protocol.turn import Ledger, Turn
from nunet_node.quantities import Now
from nunet_node.wire.cid import Cid

KEY = SigningKey(bytes([1]) * 32)
JOB = "j" * 32
SAID = LogReceipt(
    job=JOB,
    owner=KEY.did,
    attempt=1,
    root=Cid.of_raw(b"logs"),
    links=1,
    digest=b"d" * 32,
    at_s=7,
)


class Answer:
    """A statement as it was opened."""

    payload = SAID
    data = b"signed"


def told(command, *, answers_as=None, job=JOB, **more):
    """Return what the user hears of an answer to such a question."""
    turn = Turn(Ledger(), Now(unix_s=0, elapsed_ns=0))
    errand = Errand(
        job=job,
        command=command,
        provider=KEY.did,
        peer_id="peer",
        addresses=(),
        mandate=Mandate(signer=KEY, subject=KEY.did),
        args={},
        answers_as=answers_as,
    )
    tell_answer(turn, Outcome(errand=errand, **{"answer": Answer, **more}))
    (effect,) = turn.batch().effects
    return effect.news


def test_a_holder_that_shows_a_log_receipt_grants_a_copy_of_the_logs():
    assert told(LOGS, answers_as=KEY.did) == LogCopyGranted(
        job=JOB, peer_id="peer", holder=KEY.did, receipt=SAID, receipt_data=b"signed"
    )


@pytest.mark.parametrize(
    ("command", "answers_as", "job"),
    [
        (LOGS, None, JOB),
        (READ, KEY.did, JOB),
        (STATUS, None, JOB),
        (LOGS, KEY.did, "k" * 32),
    ],
)
def test_a_log_receipt_answers_nothing_else(command, answers_as, job):
    said = told(command, answers_as=answers_as, job=job)

    assert isinstance(said, fx.CommandRefused)
    assert said.refusal.code == "peer.wrong-answer"


def test_silence_is_told_as_silence():
    said = told(LOGS, answer=None, unreachable="nobody there")

    assert isinstance(said, fx.ProviderUnreachable)
    assert (said.reason, said.lost) == ("nobody there", False)
