"""What this node offers, from its start on: engines, room, and what kind of machine.

Rule: what is quickly known is offered at once; what takes seconds is offered when it
has been seen. The machine is looked at again and again, because a service manager
may change what it gives to a running node; and an engine that did not hold is tried
again, because what was in its way, such as other load, may be gone. One that held and
then did not start a job is tried at the next look, and withdrawn if it does not hold.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import ENGINES, Executors
from nunet_node.executors.sandbox.devices import kinds_of
from nunet_node.market.offers import EngineOffer, Machine
from nunet_node.protocol.inputs import CapacityProbed
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.driver import Driver
from nunet_node.runtime.settings import Provide
from nunet_node.runtime.work import detect, inventory

if TYPE_CHECKING:
    from nunet_node.runtime.work.clustered import ClusterOffering

LOOK_AGAIN_S: Final = 60
"""How soon a node notices that it was given more or less; few do so more often."""
LOOKS_MAX: Final = 64
"""Most looks between two tries of an engine that did not hold: an hour. What passes
passes in minutes, and what stays is not worth more than a second of every hour."""

_log = logging.getLogger("nunet_node.runtime.work.offering")


@dataclass(slots=True, kw_only=True, eq=False)
class Offering:
    """Tells the node what it can offer; `start` first, then `keep_up`."""

    executors: LocalExecutors
    scratch: Path
    provide: Provide
    driver: Driver
    total: ResourceVector = field(default_factory=ResourceVector)
    engines: tuple[EngineOffer, ...] = ()
    machine: Machine | None = None
    looks: int = 0
    """Looks since the start, or since an engine was last withdrawn."""
    hindrance: str = ""
    """Why the engines could not be prepared, as it was last logged."""

    async def start(self) -> None:
        """Offer what is known at once."""
        self.executors.devices.present = await trio.to_thread.run_sync(
            self.provide.devices
        )
        self.total = self.provide.offer(await self._found())
        self.engines = await detect.engines(self.executors)
        await self.driver.tell(self._probed())

    async def keep_up(self, *, every_s: float = LOOK_AGAIN_S) -> None:
        """Offer what takes longer to know, and from then on what has changed."""
        self.machine = await trio.to_thread.run_sync(
            inventory.machine, self.scratch, self.executors.devices.present
        )
        if detect.some_wait(self.engines):
            await self._prepare()
        await self.driver.post(self._probed())
        while True:
            await trio.sleep(every_s)
            await self.look_again()
            self.looks += 1
            if self.executors.in_doubt or is_for_trying(self.looks):
                await self.try_again()

    async def look_again(self) -> None:
        """Offer more or less processors and memory, if the machine has."""
        found = await self._found()
        # The disk fills with jobs and results that are counted already.
        total = msgspec.structs.replace(
            self.provide.offer(found), disk_bytes=self.total.disk_bytes
        )
        if total != self.total:
            _log.info("the machine now has %s", total)
            self.total = total
            await self.driver.post(self._probed())

    async def try_again(self) -> None:
        """Offer the engines that hold now: not all did before, or not all do still."""
        before = {each.engine for each in self.engines}
        if before.issuperset(ENGINES) and not self.executors.in_doubt:
            return
        await self._prepare()
        now = {each.engine for each in self.engines}
        if more := now - before:
            _log.info("now offered, too: %s", ", ".join(sorted(more)))
        if less := before - now:
            # What is in its way may be gone soon, so it is tried often again.
            self.looks = 0
            _log.warning("no longer offered: %s", ", ".join(sorted(less)))
        if now != before:
            await self.driver.post(self._probed())

    async def _found(self) -> ResourceVector:
        found = await trio.to_thread.run_sync(detect.detect, self.scratch)
        return found.with_gpus(kinds_of(self.executors.devices.present))

    async def _prepare(self) -> None:
        try:
            await self.executors.prepare()
        except PeerError as error:
            if str(error) != self.hindrance:
                self.hindrance = str(error)
                _log.warning("engine python is not offered: %s", error)
        engines = await detect.engines(self.executors)
        self.engines = tuple(offer for offer in engines if offer.ready)

    def _probed(self) -> CapacityProbed:
        return CapacityProbed(
            total=self.total, engines=self.engines, machine=self.machine
        )


def is_for_trying(looks: int) -> bool:
    """Tell whether this look is one that tries engines: ever fewer are."""
    return looks & (looks - 1) == 0 or looks % LOOKS_MAX == 0


def offering_of(
    executors: Executors, scratch: Path, provide: Provide, driver: Driver
) -> "Offering | ClusterOffering":
    """Return what offers the machine, or the cluster, behind these executors."""
    if isinstance(executors, LocalExecutors):
        return Offering(
            executors=executors, scratch=scratch, provide=provide, driver=driver
        )
    # Imported here: few nodes have a cluster, and to speak to one takes a tenth of a
    # second to load.
    from nunet_node.runtime.work import clustered  # noqa: PLC0415

    return clustered.offering_of(executors, provide.offer, driver)
