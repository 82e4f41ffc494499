"""Inputs arrive whole, wherever the connections that bring them are cut."""

import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.exchange.handover import deliver
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.bulk.giver import Giver
from tests.unit.runtime.exchange.test_handover import Offers, Provider, offer

BLOCKS = 3
MODEL = b"".join(bytes([n + 1]) * BLOCK_BYTES_MAX for n in range(BLOCKS)) + b"end"
SENT_BYTES_MAX = len(MODEL) + 4096
"""More than is sent in all, with what is around the blocks."""


async def handed_over(cuts, place):
    """Hand over with bulk connections cut after so many bytes each.

    Returns:
        The inputs that arrived, and whether each block of them is whole there.
    """
    with BlockStore(place / "theirs") as theirs, BlockStore(place / "ours") as ours:
        root = store_files(ours, place / "files", {"model": MODEL}).root
        blocks = {cid: ours.get(cid) for cid in blocks_under(ours, root)}
        giver = Giver(*cuts, blocks=blocks)
        provider = Provider(theirs, giver.channel)
        async with linked_hosts() as (server, user):
            provider.server.serve(server)
            provider.expect(user, root)
            async with await user.open_stream(server.peer_id, BLOCKS_PROTOCOL) as it:
                await deliver(it, offer(root), ours, Offers())
        return provider.arrived, [theirs.is_intact(cid) for cid in blocks]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, SENT_BYTES_MAX), max_size=6))
def test_a_hand_over_survives_cuts_at_any_bytes(cuts):
    with tempfile.TemporaryDirectory() as directory:
        arrived, intact = trio.run(handed_over, cuts, Path(directory))
    assert arrived == [("job", 1)]
    assert intact
    assert all(intact)
