"""However many turns wait for one sync, taking them back leaves what was before.

A provider, and an owner who places, cancels and loses jobs, live through a story; each
input of both is written down. Then a new node hears the story up to some point, decides
some more of it without keeping anything, and takes that back.
"""

from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.errors import MisuseError
from nunet_node.identity.keys import SigningKey
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.turn import TURNS_MAX
from tests.unit.protocol.peer import Peer
from tests.unit.protocol.scenery import INPUT, capacity, place, snapshot, spec
from tests.unit.protocol.world import World

CPUS = 2


@dataclass(eq=False)
class Diarist(Peer):
    """A peer that writes down what it is given, and when."""

    story: list = field(default_factory=list)

    def give(self, given):
        self.story.append((given, self.world.now))
        super().give(given)


def diarist(world, number, *, provides):
    peer = Diarist(
        world=world,
        key=SigningKey(bytes([number]) * 32),
        user=SigningKey(bytes([100 + number]) * 32),
        provides=provides,
        capacity=capacity(CPUS) if provides else None,
    )
    if world is not None:
        world.peers.append(peer)
        peer.start()
        world.introduce(peer)
        world.run()
    return peer


@cache
def stories():
    """Return the inputs of a provider and of an owner."""
    world = World()
    provider = diarist(world, 1, provides=True)
    owner = diarist(world, 11, provides=False)
    world.run(for_s=1)
    jobs = [place(owner, spec(cpus=2), bytes([n]) * 16) for n in range(4)]
    jobs.append(place(owner, spec(inputs=INPUT), b"i" * 16))
    owner.give(ins.CancelWanted(job=jobs[2]))
    world.run(for_s=5)
    for start in tuple(provider.running):
        exited = ins.JobExited(job=start.job, attempt=start.attempt, exit_code=0)
        provider.give(exited)
        world.run(for_s=5)
    world.cut(provider, owner)
    world.run(for_s=30)
    return {True: tuple(provider.story), False: tuple(owner.story)}


def fresh(*, provides):
    return diarist(None, 1 if provides else 11, provides=provides).node


@given(provides=st.booleans(), data=st.data())
def test_taking_turns_back_restores_the_ledger(provides, data):
    story = stories()[provides]
    at = data.draw(st.integers(min_value=0, max_value=len(story) - 1))
    most = min(TURNS_MAX, len(story) - at)
    count = data.draw(st.integers(min_value=1, max_value=most))
    back = data.draw(st.integers(min_value=1, max_value=count))
    node = fresh(provides=provides)
    for event, now in story[:at]:
        node.handle(event, now)
    states = []
    for turn, (event, now) in enumerate(story[at : at + count]):
        states.append(snapshot(node))
        node.handle(event, now, joins=turn > 0)

    node.undo(back)

    assert snapshot(node) == states[-back]
    if back < count:
        node.undo(count - back)
        assert snapshot(node) == states[0]


def test_there_is_something_to_take_back_in_the_stories():
    for provides, story in stories().items():
        node = fresh(provides=provides)
        facts = sum(bool(node.handle(event, now).facts) for event, now in story)
        assert facts > 8


@pytest.mark.parametrize("turns", [0, 2])
def test_what_was_not_decided_together_cannot_be_taken_back_together(turns):
    node = fresh(provides=True)
    for event, now in stories()[True][:2]:
        node.handle(event, now)

    with pytest.raises(MisuseError):
        node.undo(turns)
