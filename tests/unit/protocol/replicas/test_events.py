"""What the node orders and hears about copies."""

from nunet_node.protocol.effects import Effect
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.replicas import events


def test_every_order_about_copies_is_an_effect_and_every_answer_an_input():
    assert set(events.ReplicaEffect.__args__) <= set(Effect.__args__)
    assert set(events.ReplicaInput.__args__) <= set(Input.__args__)
