"""A word means one job, or an error."""

import pytest

from nunet_node.client.errors import AmbiguousJobError
from nunet_node.client.lookup import find_order
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.protocol.order import Order

FIRST, SECOND, THIRD = (JobId(c * 32) for c in ("a", "b", "c"))
NEARBY = JobId("a" * 31 + "b")


def order(job, name):
    spec = JobSpec(name=name, engine=Engine.PYTHON, command=("x",))
    return Order(job=job, spec=spec)


ORDERS = {
    FIRST: order(FIRST, "co2"),
    NEARBY: order(NEARBY, "aaa"),
    SECOND: order(SECOND, "twice"),
    THIRD: order(THIRD, "twice"),
}


@pytest.mark.parametrize(
    ("word", "job"),
    [
        (FIRST, FIRST),
        ("b", SECOND),
        ("bbbb", SECOND),
        ("co2", FIRST),
        ("aaa", NEARBY),
        ("zzz", None),
        ("", None),
    ],
)
def test_an_id_a_name_or_the_beginning_of_an_id_finds_a_job(word, job):
    assert find_order(ORDERS, word) == job


@pytest.mark.parametrize("word", ["twice", "aa"])
def test_a_word_that_fits_two_jobs_finds_none_and_names_both(word):
    with pytest.raises(AmbiguousJobError, match=r"queued.*queued"):
        find_order(ORDERS, word)
