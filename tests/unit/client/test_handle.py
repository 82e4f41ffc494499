"""Small rules of a job's handle that need no network."""

from dataclasses import replace
from typing import ClassVar

import pytest
import trio.testing

from nunet_node.client.errors import CommandRefusedError, ProviderUnreachableError
from nunet_node.client.fetching.copies import PATIENCE_S
from nunet_node.client.handle import JobHandle
from nunet_node.identity.keys import AbsentKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import (
    Challenged,
    CommandRefused,
    OrderChanged,
    ProviderUnreachable,
)
from nunet_node.protocol.messages import CANCEL, READ
from nunet_node.protocol.order import Award, Order

JOB = JobId("a" * 32)
HAND = AbsentKey(did="o", algorithm=0)
"""A person signs, in another program, and is not to be asked twice."""


class _Peer:
    orders: ClassVar = {}


def notice(sequence, attempt=1):
    return OrderChanged(
        job=JOB,
        notice=Notice(
            job=JOB,
            owner="o",
            attempt=attempt,
            sequence=sequence,
            previous=b"",
            state=State.RUNNING,
            at_s=0,
        ),
    )


def test_a_job_without_a_record_is_an_empty_order():
    assert JobHandle(_Peer(), JOB, None).order.state is State.QUEUED


def test_each_notice_is_told_once_and_in_order():
    told = []
    handle = JobHandle(_Peer(), JOB, told.append)
    for each in (notice(1), notice(2), notice(1), notice(2), notice(1, attempt=2)):
        handle.hear(each)

    assert [(n.notice.attempt, n.notice.sequence) for n in told] == [
        (1, 1),
        (1, 2),
        (2, 1),
    ]


def awarded(**changes):
    award = Award(attempt=1, provider="p", peer_id="q", addresses=(), at_s=0)
    return Order(job=JOB, state=State.RUNNING, award=replace(award, **changes))


def unreachable(*, lost):
    return ProviderUnreachable(job=JOB, provider="p", reason="no route", lost=lost)


class _Holding:
    def __init__(self, order):
        self.orders = {JOB: order}


def test_a_provider_that_is_silent_for_long_counts_as_lost_to_who_waits():
    handle = JobHandle(_Holding(awarded()), JOB, None)
    handle.hear(unreachable(lost=False))
    assert handle.verdict is handle.order
    handle.hear(unreachable(lost=True))
    assert handle.verdict.state is State.LOST
    assert "no route" in handle.verdict.reason
    assert handle.order.state is State.RUNNING


def test_a_provider_that_speaks_again_is_not_lost():
    handle = JobHandle(_Holding(awarded()), JOB, None)
    handle.hear(unreachable(lost=True))
    handle.hear(notice(1))
    assert handle.verdict is handle.order


def test_a_job_that_is_tried_elsewhere_is_not_lost():
    order = awarded(dropped="lost", lost=True)
    handle = JobHandle(_Holding(order), JOB, None)
    handle.hear(unreachable(lost=True))
    assert handle.verdict is handle.order


async def test_nobody_is_asked_for_the_output_of_a_job_that_nobody_took():
    order = replace(awarded(dropped="no room"), state=State.TIMED_OUT)
    handle = JobHandle(_Holding(order), JOB, None)
    assert [piece async for piece in handle.output()] == []


async def test_waiting_ends_when_the_provider_counts_as_lost(nursery):
    handle = JobHandle(_Holding(awarded()), JOB, None)
    waited = []

    async def wait():
        waited.append(await handle.ended_or_silent())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    handle.hear(unreachable(lost=True))
    await trio.testing.wait_all_tasks_blocked()
    assert [order.state for order in waited] == [State.LOST]


class _Told(_Holding):
    users: ClassVar = {}

    async def tell(self, _wish):
        await trio.lowlevel.checkpoint()


async def test_a_refused_cancel_is_told_though_it_will_be_asked_for_again(nursery):
    handle = JobHandle(_Told(awarded()), JOB, None)
    refusals = []

    async def cancel():
        with pytest.raises(CommandRefusedError) as caught:
            await handle.cancel()
        refusals.append(str(caught.value))

    nursery.start_soon(cancel)
    await trio.testing.wait_all_tasks_blocked()
    refusal = Refusal(code="capability.signature", reason="it does not hold")
    handle.hear(CommandRefused(job=JOB, command=CANCEL, provider="p", refusal=refusal))
    handle.hear(unreachable(lost=False))
    await trio.testing.wait_all_tasks_blocked()
    assert len(refusals) == 1
    assert "capability.signature" in refusals[0]


@pytest.mark.parametrize("times", [1, 3])
def test_changes_without_a_notice_are_always_told(times):
    told = []
    handle = JobHandle(_Peer(), JOB, told.append)
    for _ in range(times):
        handle.hear(OrderChanged(job=JOB))

    assert len(told) == times


def test_what_holders_answer_is_no_news_of_the_job():
    told = []
    handle = JobHandle(_Holding(awarded()), JOB, told.append)
    handle._questions._holders.add("h")
    refusal = Refusal(code="job.unknown", reason="no such job, or not yours")
    for provider in ("h", "p"):
        handle.hear(
            CommandRefused(job=JOB, command=READ, provider=provider, refusal=refusal)
        )
        handle.hear(Challenged(job=JOB, command=READ, provider=provider))

    assert [news.provider for news in told] == ["p", "p"]


@pytest.mark.parametrize(("signer", "silences"), [(None, 1), (HAND, 0)])
async def test_a_provider_that_is_silent_is_told_of_and_waited_for(
    nursery, autojump_clock, monkeypatch, signer, silences
):
    monkeypatch.setattr(_Told, "users", {"o": signer})
    handle = JobHandle(_Told(replace(awarded(), owner="o")), JOB, None)
    told, ended = [], []

    async def ask():
        with pytest.raises(ProviderUnreachableError):
            await handle.report(lambda: told.append(trio.current_time()))
        ended.append(trio.current_time())

    nursery.start_soon(ask)
    await trio.sleep(2 * PATIENCE_S)
    assert (len(told), ended) == (silences, [])
    handle.hear(unreachable(lost=False))
    await trio.testing.wait_all_tasks_blocked()
    assert len(ended) == 1
