"""What the node orders and hears about secrets."""

from nunet_node.protocol.effects import Effect, News
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.secrets import events


def test_the_order_to_seal_is_an_effect_and_every_answer_an_input():
    assert events.SealSecrets in Effect.__args__
    assert set(events.SecretsNews.__args__) <= set(Input.__args__)
    assert events.SecretsAwaited in News.__args__
