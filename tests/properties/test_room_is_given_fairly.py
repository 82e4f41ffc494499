"""Laws of the scheduler: never oversell, never delay the first, never idle for it."""

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.jobs.scheduler import (
    Holding,
    Waiting,
    free_of,
    in_order,
    startable,
    starts_in_s,
    tag_for,
)
from nunet_node.quantities import ResourceVector

TOTAL = ResourceVector(cpu_millis=8, memory_bytes=8)

needs = st.builds(
    ResourceVector,
    cpu_millis=st.integers(0, 8),
    memory_bytes=st.integers(0, 8),
)
seconds = st.integers(1, 100)


@st.composite
def holdings(draw):
    """What may be running: never more than there is."""
    held = []
    for need, ends_in_s in draw(st.lists(st.tuples(needs, seconds), max_size=6)):
        if need.fits(free_of(TOTAL, (h.need for h in held))):
            held.append(Holding(need=need, ends_in_s=ends_in_s))
    return held


@st.composite
def queues(draw):
    drawn = draw(st.lists(st.tuples(st.integers(0, 3), needs, seconds), max_size=8))
    return [
        Waiting(
            job=f"job-{sequence}",
            tag=tag,
            sequence=sequence,
            need=need,
            run_s=run_s,
            ready=draw(st.booleans()),
        )
        for sequence, (tag, need, run_s) in enumerate(drawn)
    ]


def chosen_of(held, queue):
    names = startable(TOTAL, held, queue)
    return [next(w for w in queue if w.job == name) for name in names]


@given(holdings(), queues())
def test_what_is_started_fits_beside_what_runs(held, queue):
    chosen = chosen_of(held, queue)
    assert len({w.job for w in chosen}) == len(chosen)
    used = sum((w.need for w in chosen), sum((h.need for h in held), ResourceVector()))
    assert used.fits(TOTAL)


@given(holdings(), queues())
def test_only_what_is_ready_is_started(held, queue):
    assert all(w.ready for w in chosen_of(held, queue))


@given(holdings(), queues())
def test_the_first_job_that_fits_is_never_left_waiting(held, queue):
    ready = in_order(w for w in queue if w.ready)
    if ready and ready[0].need.fits(free_of(TOTAL, (h.need for h in held))):
        assert chosen_of(held, queue)[0] == ready[0]


@given(holdings(), queues())
def test_whatever_starts_does_not_delay_the_first_that_must_wait(held, queue):
    chosen = chosen_of(held, queue)
    first = next((w for w in in_order(queue) if w.ready and w not in chosen), None)
    if first is None:
        return
    before = [w for w in chosen if (w.tag, w.sequence) < (first.tag, first.sequence)]
    started = [Holding(need=w.need, ends_in_s=w.run_s) for w in before]
    promised_s = starts_in_s(TOTAL, [*held, *started], [], first.need)
    everything = [Holding(need=w.need, ends_in_s=w.run_s) for w in chosen]
    assert starts_in_s(TOTAL, [*held, *everything], [], first.need) <= promised_s


@given(holdings(), queues(), needs)
def test_nobody_behind_the_queue_is_promised_an_earlier_start(held, queue, need):
    alone = starts_in_s(TOTAL, held, [], need)
    assert starts_in_s(TOTAL, held, queue, need) >= alone


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_an_owner_waits_for_at_most_one_job_of_each_other_per_own_job(turns):
    """Two owners submit in any order: their jobs alternate while both have some."""
    last = {True: 0, False: 0}
    queue = []
    for sequence, owner in enumerate(turns):
        last[owner] = tag_for(last[owner], 0)
        queue.append((last[owner], sequence, owner))
    order = [owner for _, _, owner in sorted(queue)]
    both = 2 * min(turns.count(True), turns.count(False))
    pairs = zip(order[:both:2], order[1:both:2], strict=True)
    assert all(one != other for one, other in pairs)
