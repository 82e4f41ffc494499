"""A fetch that is cut goes on where it was, wherever it was cut."""

import tempfile
from itertools import chain
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.network.stream import Stream
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.results.layout import EXIT_CODE, OUTPUTS, STDERR, STDOUT
from nunet_node.runtime.exchange.fetching import Transfers
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.test_blocks import serving

BLOCKS = 3
MODEL = b"".join(bytes([n + 1]) * BLOCK_BYTES_MAX for n in range(BLOCKS)) + b"end"
FILES = {STDOUT: b"said", STDERR: b"", EXIT_CODE: b"0", f"{OUTPUTS}/model": MODEL}
SENT_BYTES_MAX = len(MODEL) + 4096
"""More than the provider sends in all, its frames and the manifest included."""


class Cutting:
    """A stream's transport that breaks once so many bytes have left in all."""

    def __init__(self, inner, allowance):
        self._inner = inner
        self._allowance = allowance

    async def write(self, data):
        part = data[: self._allowance.left]
        self._allowance.left -= len(part)
        await self._inner.write(part)
        if len(part) < len(data):
            self._allowance.next()
            await self._inner.reset()

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Allowance:
    """The bytes until the next cut."""

    def __init__(self, cuts):
        self._cuts = chain(cuts, [10 * SENT_BYTES_MAX])
        self.sent = 0
        self.next()

    def next(self):
        self.left = next(self._cuts)


async def fetched(cuts, place):
    """Fetch with cuts after so many bytes each; return the bytes that came."""
    with BlockStore(place / "theirs") as theirs, BlockStore(place / "ours") as ours:
        root = store_files(theirs, place / "files", FILES).root
        allowance = Allowance(cuts)
        answer = serving(theirs)

        async def cut_short(stream):
            transport = Cutting(stream._transport, allowance)
            await answer(Stream(stream.peer_id, stream.protocol, transport))

        async with linked_hosts() as (provider, user):
            provider.serve(BLOCKS_PROTOCOL, cut_short)
            transfers = Transfers(user, ours)
            await transfers.fetch((provider.peer_id,), root, place / "out")
    return (place / "out" / OUTPUTS / "model").read_bytes()


def run(cuts):
    with tempfile.TemporaryDirectory() as directory:
        return trio.run(fetched, cuts, Path(directory))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, SENT_BYTES_MAX), max_size=6))
def test_a_fetch_survives_cuts_at_any_bytes(cuts):
    assert run(cuts) == MODEL


def test_a_fetch_survives_a_cut_about_every_block_boundary():
    # Frames around the blocks are shorter than a hundred bytes each.
    near = [at * BLOCK_BYTES_MAX + more for at in range(1, BLOCKS) for more in (0, 60)]
    for cut in near:
        assert run([cut]) == MODEL
