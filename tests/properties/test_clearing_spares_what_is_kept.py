"""Whatever is put, kept, let go and cleared, in any order: what is kept is whole."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.runtime.store.upkeep import GRACE_S
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError
from nunet_node.storage.pins import Pins
from nunet_node.wire.cid import Cid

BLOCKS = [bytes([number]) * (number + 1) for number in range(12)]
CIDS = [Cid.of_raw(data) for data in BLOCKS]

blocks = st.sets(st.integers(0, len(BLOCKS) - 1), max_size=6)
labels = st.sampled_from(["one", "two", "three"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), blocks),
        st.tuples(st.just("age"), blocks),
        st.tuples(st.just("pin"), labels, blocks),
        st.tuples(st.just("unpin"), labels),
        st.tuples(st.just("clear")),
        st.tuples(st.just("sweep")),
        st.tuples(st.just("restart")),
    ),
    max_size=30,
)


def put(store, numbers):
    with store.batch(durable=False) as batch:
        for number in numbers:
            batch.put(BLOCKS[number])


def age(store, numbers):
    for number in numbers:
        path = store._path(CIDS[number])
        if path.exists():
            os.utime(path, (0, 0))


def pin(pins, kept, label, numbers):
    """Pin blocks, note it if all of them were there, and return what was let go."""
    try:
        pins.pin(label, [CIDS[number] for number in numbers])
    except BlockMissingError:
        return set()
    replaced, kept[label] = kept.get(label, set()), numbers
    return replaced


@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_clearing_never_takes_what_is_pinned_nor_what_is_young(steps):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with BlockStore(root / "store") as store:
            for step, wanted, young, here in states(root / "pins", store, steps):
                assert wanted <= here, step
                if step[0] == "clear":
                    assert young <= here | wanted, step
                if step[0] == "sweep":
                    assert here == wanted, step


def states(root, store, steps):
    """Tell after every step which blocks are wanted, which young, and which here."""
    pins, kept, young = Pins(root, store), {}, set()
    for step in steps:
        match step:
            case ("put", numbers):
                put(store, numbers)
                young |= numbers
            case ("age", numbers):
                age(store, numbers)
                young -= numbers
            case ("pin", label, numbers):
                young -= pin(pins, kept, label, numbers)
            case ("unpin", label):
                pins.unpin(label)
                young -= kept.pop(label, set())
            case ("clear",):
                pins.clear(GRACE_S)
            case ("sweep",):
                pins.sweep()
                young.clear()
            case ("restart",):
                pins = Pins(root, store)
        here = {number for number, cid in enumerate(CIDS) if store.is_intact(cid)}
        yield step, set().union(*kept.values()), young, here
