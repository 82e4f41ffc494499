"""What a user wants about delegations comes to the node as inputs."""

from typing import get_args

from nunet_node.protocol.inputs import Input
from nunet_node.protocol.trust.events import TrustWish


def test_wishes_are_inputs():
    assert set(get_args(TrustWish)) <= set(get_args(Input))
