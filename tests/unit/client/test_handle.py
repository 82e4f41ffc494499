"""Small rules of a job's handle that need no network."""

from typing import ClassVar

import pytest

from nunet_node.client.handle import JobHandle
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice
from nunet_node.protocol.effects import OrderChanged

JOB = JobId("a" * 32)


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


@pytest.mark.parametrize("times", [1, 3])
def test_changes_without_a_notice_are_always_told(times):
    told = []
    handle = JobHandle(_Peer(), JOB, told.append)
    for _ in range(times):
        handle.hear(OrderChanged(job=JOB))

    assert len(told) == times
