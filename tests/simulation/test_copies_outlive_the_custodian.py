"""Whole peers keep a result's copies up when the machine that made it is gone for ever.

Hours of this town are minutes: adverts make every second of it dear.
"""

from contextlib import AsyncExitStack

import msgspec
import pytest
import trio

from nunet_node.protocol.replicas import holding, placing, succession, upkeep
from tests.simulation.virtual_peers import City, play, spec
from tests.simulation.virtual_time import real_time

HOUR_S = 60
COPIES = 2
ROOM_BYTES = 16 << 20
LONG_S = 20 * HOUR_S


@pytest.fixture(autouse=True)
def _short_hours(monkeypatch):
    for module, name, seconds in (
        (holding, "KEEPER_S", 2 * HOUR_S),
        (placing, "AUDIT_S", HOUR_S),
        (placing, "AUDIT_AGAIN_S", 5),
        (placing, "AVOIDED_S", 10),
        (succession, "SUCCESSION_S", 4 * HOUR_S),
        (succession, "STEP_S", HOUR_S),
        (upkeep, "UPKEEP_S_MAX", HOUR_S),
    ):
        monkeypatch.setattr(module, name, seconds)


class Town:
    """Four nodes that keep copies, each of which can go for ever, and a provider."""

    def __init__(self, city: City, nursery: trio.Nursery) -> None:
        self.city, self.nursery = city, nursery
        self.peers, self._scopes = {}, {}

    async def begin(self):
        for name in ("one", "two", "three", "four"):
            await self.nursery.start(
                self._live, name, self.city.store(name, ROOM_BYTES)
            )
        await self.nursery.start(self._live, "provider", self.city.provider())
        # Adverts have gone around.
        await trio.sleep(5)

    async def _live(self, name, opened, *, task_status):
        with trio.CancelScope() as self._scopes[name]:
            async with opened as self.peers[name]:
                task_status.started()
                await trio.sleep_forever()
        del self.peers[name]

    async def lose(self, name):
        self._scopes[name].cancel()
        while name in self.peers:
            await trio.sleep(0.1)
        others = [peer.addresses() for peer in self.peers.values()]
        self.city.addresses = others[0]

    def holders(self, job):
        return [
            name
            for name, peer in self.peers.items()
            if any(r.job == job and r.kept for r in peer.node.replicas.values())
        ]

    def heirs(self):
        return [
            name for name, peer in self.peers.items() if peer.node._provider.desk.acting
        ]

    async def until(self, condition, within_s=LONG_S):
        began_s = trio.current_time()
        with trio.fail_after(within_s):
            while not condition():
                await trio.sleep(1)
        return trio.current_time() - began_s


def wanted():
    return msgspec.structs.replace(spec(1), replicas=COPIES, retention_s=86400)


async def outlived(city, target, *, away):
    """Lose the custodian, and then a holder; fetch what is left as the owner."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as owner:
        town = Town(city, nursery)
        await town.begin()
        client = await owner.enter_async_context(city.client())
        handle = await client.submit(wanted())
        job = handle.job
        await (handle.placed() if away else handle.ended())
        if away:
            await owner.aclose()
        await town.until(lambda: len(town.holders(job)) == COPIES)
        first = town.holders(job)

        await town.lose("provider")
        alone_s = await town.until(town.heirs)
        # In the custodian's place it has as many kept as were wanted, beside its own.
        # Two may have begun at once, which makes one copy too many.
        await town.until(lambda: len(town.holders(job)) > COPIES)
        await town.until(lambda: len(town.heirs()) == 1)
        (heir,) = town.heirs()
        (other,) = set(first) - {heir}
        await town.lose(other)
        await town.until(lambda: len(town.holders(job)) > COPIES)
        left = town.holders(job)

        if away:
            client = await owner.enter_async_context(city.client())
            handle = await client.find(job)
        with real_time():
            await handle.fetch(target)
        nursery.cancel_scope.cancel()
    return alone_s, first, heir, left


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_copies_are_made_up_for_and_fetched_when_the_custodian_is_gone(tmp_path, away):
    target = tmp_path / "result"

    async def story(city):
        return await outlived(city, target, away=away)

    alone_s, first, heir, left = play(story, tmp_path / "city", seed=5)

    assert alone_s > 3 * HOUR_S
    assert heir in first
    assert heir in left
    assert len(left) > COPIES
    assert (target / "stdout").read_text() == "work 1"
