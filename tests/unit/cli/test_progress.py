"""What happens to a job is told in short lines, each once."""

import pytest

from nunet_node.cli.output import Settings
from nunet_node.cli.progress import Teller, exit_code_of, line_of, short
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice, Queue
from nunet_node.market.offers import Bid, Refusal
from nunet_node.protocol.effects import (
    BidCounted,
    Called,
    Challenged,
    CommandRefused,
    Drained,
    OrderAccepted,
    OrderChanged,
    ProviderUnreachable,
    Unplaced,
)
from nunet_node.protocol.order import Order

JOB = JobId("a" * 32)
DID = "did:key:z6MkProvider12345678"


def moved(state, **said):
    notice = Notice(
        job=JOB,
        owner="o",
        attempt=1,
        sequence=1,
        previous=b"",
        state=state,
        at_s=0,
        **said,
    )
    return OrderChanged(job=JOB, notice=notice)


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (Called(job=JOB, providers=3), "calling 3 provider(s) for bids"),
        (
            BidCounted(
                job=JOB,
                provider=DID,
                bid=Bid(call=b"", price_micro_ntx=500_000),
                refusal=None,
            ),
            "…12345678 bids 0.5 NTX a CPU-hour, starts now",
        ),
        (
            BidCounted(
                job=JOB,
                provider=DID,
                bid=Bid(call=b"", price_micro_ntx=0, starts_in_s=9, queue_position=1),
                refusal=None,
            ),
            "…12345678 bids 0 NTX a CPU-hour, starts in about 9 s",
        ),
        (
            BidCounted(
                job=JOB,
                provider=DID,
                bid=None,
                refusal=Refusal(code="x", reason="too small"),
            ),
            "…12345678 refuses: too small",
        ),
        (
            Challenged(job=JOB, provider=DID, command="/nunet/job/submit"),
            "…12345678 challenged our DID for submit: answered",
        ),
        (
            OrderAccepted(job=JOB, provider=DID, staged=False),
            "accepted by …12345678; handing over what it needs",
        ),
        (
            moved(State.QUEUED, queue=Queue(position=2, reason="busy", estimate_s=60)),
            "queued: place 2, starts in about 60 s: busy",
        ),
        (moved(State.RUNNING), "running"),
        (moved(State.FAILED, reason="exit code 3"), "failed: exit code 3"),
        (
            ProviderUnreachable(job=JOB, provider=DID, reason="gone", lost=False),
            "cannot reach …12345678: gone; trying again",
        ),
        (
            CommandRefused(
                job=JOB,
                provider=DID,
                command="/nunet/result/read",
                refusal=Refusal(code="x", reason="no such job, or not yours"),
            ),
            "…12345678 refuses read: no such job, or not yours",
        ),
        (OrderChanged(job=JOB), None),
        (Drained(), None),
    ],
)
def test_each_event_has_its_line(news, line):
    assert line_of(news) == line


def test_a_peer_s_words_cannot_drive_the_terminal():
    assert line_of(moved(State.FAILED, reason="\x1b[2J")) == "failed: \\x1b[2J"


def test_a_line_is_not_repeated(capsys):
    tell = Teller(Settings())
    for _ in range(3):
        tell(ProviderUnreachable(job=JOB, provider=DID, reason="gone", lost=False))

    assert capsys.readouterr().err.count("\n") == 1


def refused(reason):
    why = Refusal(code="provider.owner-queue-full", reason=reason)
    return CommandRefused(job=JOB, command="/compute/submit", provider=DID, refusal=why)


def test_a_job_that_nobody_takes_is_told_of_once_and_again_when_the_reason_changes(
    capsys,
):
    tell = Teller(Settings(), "analysis")
    bid = Bid(call=b"", price_micro_ntx=0, starts_in_s=9)
    for reason in ("full", "full", "full", "leaving", "leaving"):
        tell(Called(job=JOB, providers=1))
        tell(BidCounted(job=JOB, provider=DID, bid=bid, refusal=None))
        tell(Challenged(job=JOB, provider=DID, command="/compute/submit"))
        tell(refused(reason))
        tell(Unplaced(job=JOB, queue_s=604_800))

    assert capsys.readouterr().err.splitlines() == [
        f"job {JOB} (analysis)",
        "  calling 1 provider(s) for bids",
        "  …12345678 bids 0 NTX a CPU-hour, starts in about 9 s",
        "  …12345678 challenged our DID for submit: answered",
        "  …12345678 refuses submit: full",
        "  nobody takes it now; it is offered again, for 7d",
        "  …12345678 refuses submit: leaving",
    ]


def test_a_job_that_is_placed_at_last_is_told_of_as_any_other(capsys):
    tell = Teller(Settings())
    for _ in range(2):
        tell(refused("full"))
        tell(Unplaced(job=JOB, queue_s=60))
    capsys.readouterr()
    tell(OrderAccepted(job=JOB, provider=DID, staged=False))
    tell(Called(job=JOB, providers=2))

    assert capsys.readouterr().err.splitlines() == [
        "  accepted by …12345678; handing over what it needs",
        "  calling 2 provider(s) for bids",
    ]


def test_a_job_is_introduced_once_before_anything_is_told_of_it(capsys):
    tell = Teller(Settings(), "analysis")
    tell(Called(job=JOB, providers=2))
    tell.introduce(JOB)

    assert capsys.readouterr().err.splitlines()[0] == f"job {JOB} (analysis)"


@pytest.mark.parametrize(
    ("state", "own", "code"),
    [
        (State.COMPLETED, 0, 0),
        (State.FAILED, 3, 3),
        (State.FAILED, 137, 137),
        (State.FAILED, None, 125),
        (State.FAILED, 70_000, 1),
        (State.TIMED_OUT, None, 124),
        (State.TIMED_OUT, 137, 124),
        (State.CANCELLED, None, 130),
        (State.LOST, None, 125),
        (State.REFUSED, None, 125),
    ],
)
def test_a_wait_ends_with_the_job_s_code_or_ours(state, own, code):
    assert exit_code_of(Order(job=JOB, state=state, exit_code=own)) == code


def test_every_end_has_a_code():
    ends = [state for state in State if is_final(state)]

    assert all(
        exit_code_of(Order(job=JOB, state=s)) in {0, 124, 125, 130} for s in ends
    )


def test_nobody_has_a_short_name():
    assert short(None) == "nobody"
