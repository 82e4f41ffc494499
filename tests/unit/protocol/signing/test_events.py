"""What the node orders of a key that is elsewhere is an effect, and the answer an input."""

from typing import get_args

from nunet_node.identity.challenge import CHALLENGE_TTL_S
from nunet_node.protocol.effects import Effect
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.signing.events import SIGN_S, SignatureEffect, SignatureNews


def test_orders_are_effects_and_answers_are_inputs():
    assert set(get_args(SignatureEffect)) <= set(get_args(Effect))
    assert set(get_args(SignatureNews)) <= set(get_args(Input))


def test_a_challenge_outlives_the_time_for_its_signature():
    assert SIGN_S < CHALLENGE_TTL_S
