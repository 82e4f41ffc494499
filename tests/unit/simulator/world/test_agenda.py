"""Moments come in order, and equal ones in the order of entry."""

from nunet_node.simulator.world.agenda import Agenda


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
