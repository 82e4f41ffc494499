"""Moments come in order, and equal ones in the order of entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.simulator.world.agenda import SLOT_BITS, Agenda

SLOT_NS = 1 << SLOT_BITS


def test_moments_come_in_order_and_equal_ones_as_they_were_entered():
    agenda, seen = Agenda(), []
    for name, at_ns in (("c", 5), ("a", 1), ("d", 5), ("b", 3)):
        agenda.at(at_ns, seen.append, name)
    agenda.run(4)
    assert (seen, agenda.now_ns) == (["a", "b"], 4)
    agenda.run(10)
    assert (seen, agenda.now_ns, agenda.events) == (["a", "b", "c", "d"], 10, 4)


def test_the_past_is_now():
    agenda, seen = Agenda(), []
    agenda.run(100)
    agenda.at(3, seen.append, "late")
    agenda.run(100)
    assert (seen, agenda.now_ns) == (["late"], 100)


def test_what_happens_may_make_more_happen():
    agenda, seen = Agenda(), []

    def again(count):
        seen.append(agenda.now_ns)
        if count:
            agenda.after(2, again, count - 1)

    agenda.at(1, again, 3)
    agenda.run(5)
    assert seen == [1, 3, 5]
    assert len(agenda) == 1


def test_a_moment_that_fails_leaves_the_others_due():
    agenda, seen = Agenda(), []

    def fail(_):
        raise ValueError("it fails")

    for at_ns, act in ((1, seen.append), (2, fail), (3, seen.append)):
        agenda.at(at_ns, act, at_ns)
    with pytest.raises(ValueError, match="it fails"):
        agenda.run(SLOT_NS * 2)
    assert (seen, agenda.now_ns, agenda.events, len(agenda)) == ([1], 2, 2, 1)
    agenda.run(SLOT_NS * 2)
    assert (seen, agenda.events, len(agenda)) == ([1, 3], 3, 0)


def test_what_is_entered_between_two_runs_into_the_past_is_now():
    agenda, seen = Agenda(), []
    agenda.run(SLOT_NS + 9)
    for at_ns in (SLOT_NS + 7, 3, SLOT_NS + 8):
        agenda.at(at_ns, lambda _: seen.append(agenda.now_ns))
    agenda.run(SLOT_NS + 9)
    assert seen == [SLOT_NS + 9] * 3


DELAYS_NS = st.sampled_from([0, 1, 2, SLOT_NS // 2, SLOT_NS - 1, SLOT_NS, 5 * SLOT_NS])


@given(
    entered=st.lists(st.tuples(DELAYS_NS, st.lists(DELAYS_NS, max_size=3)), max_size=9),
    stops_ns=st.lists(DELAYS_NS, max_size=5),
)
def test_the_calendar_keeps_the_order_of_one_list_of_all_moments(entered, stops_ns):
    agenda, seen, expected, due = Agenda(), [], [], []
    for number, (at_ns, then_ns) in enumerate(entered):

        def come(about, then_ns=then_ns):
            seen.append((agenda.now_ns, about))
            for after_ns in then_ns:
                agenda.after(after_ns, lambda it: seen.append((agenda.now_ns, it)))

        agenda.at(at_ns, come, number)
        due.append((at_ns, number, number, then_ns))
    count = len(due)
    for stop_ns in sorted(stops_ns):
        agenda.run(stop_ns)
    agenda.run(20 * SLOT_NS)
    while due:
        now_ns, _, about, then_ns = due.pop(due.index(min(due)))
        expected.append((now_ns, about))
        for after_ns in then_ns:
            due.append((now_ns + after_ns, count, None, []))
            count += 1
    assert seen == expected
    assert agenda.events == len(seen)
