"""A node whose jobs run on a cluster: what it is configured to, and what it offers.

Rule: what is offered is what the cluster's machines have, asked again and again, and
never more than its owner allows. While the cluster does not answer, nothing starts and
nobody is refused for ever: its engines count as being prepared.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.executors.cluster.capacity import ClusterRoom, GpuKinds
from nunet_node.executors.cluster.executors import (
    RUNNER,
    ClusterExecutors,
    ClusterSettings,
)
from nunet_node.executors.cluster.port import Cluster
from nunet_node.executors.cluster.ray import RayCluster
from nunet_node.executors.cluster.slurm import SlurmCluster
from nunet_node.executors.port import Capability, Executors
from nunet_node.identity.did import Did
from nunet_node.market.offers import EngineOffer, Machine
from nunet_node.protocol.inputs import CapacityProbed
from nunet_node.quantities import ResourceVector, parse_duration_s
from nunet_node.runtime.config import Config, ConfigError
from nunet_node.runtime.driver import Driver

FIRST_LOOK_S: Final = 5
"""Longest that a start waits for its cluster; the next looks wait for themselves."""

TOKEN_BYTES_MAX: Final = 4096
"""Longest token of a cluster's interface; Ray's have some dozens of bytes."""

_log = logging.getLogger("nunet_node.runtime.work.clustered")


@dataclass(slots=True, kw_only=True, eq=False)
class ClusterOffering:
    """Tells the node what its cluster can offer; `start` first, then `keep_up`."""

    executors: ClusterExecutors
    offer: Callable[[ResourceVector], ResourceVector]
    driver: Driver
    room: ClusterRoom = field(default_factory=ClusterRoom)
    answers: bool = False
    """Whether the cluster answered when it was last asked."""
    prepared: bool = False
    told: CapacityProbed | None = None
    complaint: str = ""

    async def start(self) -> None:
        """Offer what is known at once."""
        with trio.move_on_after(FIRST_LOOK_S):
            await self._look()
        self.told = await self._probed()
        await self.driver.tell(self.told)

    async def keep_up(self) -> None:
        """Have a machine examined, and from then on offer what has changed."""
        while True:
            await self.look_again()
            await trio.sleep(self.executors.settings.poll_s)

    async def look_again(self) -> None:
        """Offer what the cluster has now, if that is news."""
        await self._look()
        if self.answers and not self.prepared:
            await self._prepare()
            await self._look()
        probed = await self._probed()
        if probed != self.told:
            _log.info("the cluster now has %s", probed.total)
            self.told = probed
            await self.driver.post(probed)

    async def _look(self) -> None:
        try:
            room = await self.executors.room()
        except PeerError as error:
            self._complain(f"no job starts until the cluster answers: {error}")
            self.answers = False
        else:
            self.answers = True
            self.complaint = "" if self.prepared else self.complaint
            self.room = room.capped(self.offer(room.total))

    async def _prepare(self) -> None:
        try:
            await self.executors.prepare()
        except PeerError as error:
            self._complain(f"the cluster cannot be used yet: {error}")
        else:
            self.prepared, self.complaint = True, ""

    def _complain(self, text: str) -> None:
        """Tell the owner, who alone can help, what is wrong; not again and again."""
        if text != self.complaint:
            _log.error("%s", text)
        self.complaint = text

    async def _probed(self) -> CapacityProbed:
        found = [_offer(each) for each in await self.executors.probe()]
        engines = tuple(offer for offer in found if offer is not None)
        if not self.answers:
            engines = tuple(map(_waiting, engines))
        architecture = self.executors.architecture
        return CapacityProbed(
            total=self.room.total,
            largest=self.room.largest,
            run_s_max=self.room.run_s_max,
            engines=engines,
            machine=Machine(architecture=architecture) if architecture else None,
        )


def _offer(found: Capability) -> EngineOffer | None:
    if found.ready:
        return EngineOffer(engine=found.engine, isolation=found.isolation)
    if found.waits:
        return EngineOffer(engine=found.engine, isolation="", ready=False)
    return None


def _waiting(offer: EngineOffer) -> EngineOffer:
    return msgspec.structs.replace(offer, ready=False)


def offering_of(
    executors: Executors,
    offer: Callable[[ResourceVector], ResourceVector],
    driver: Driver,
) -> ClusterOffering:
    """Return what offers the cluster behind these executors."""
    if not isinstance(executors, ClusterExecutors):
        raise MisuseError(f"{type(executors).__name__} have no cluster")
    return ClusterOffering(executors=executors, offer=offer, driver=driver)


def cluster_executors(config: Config, scratch: Path, owner: Did) -> ClusterExecutors:
    """Return what runs jobs on the cluster of a configuration whose backend is one.

    Raises:
        ConfigError: the file with the token cannot be read.
        ScratchError: the scratch directory is somebody else's.
    """
    said = config.cluster
    host, port = said.meets_at
    settings = ClusterSettings(
        host=host,
        port=port,
        runner=said.runner or RUNNER,
        pending_s=parse_duration_s(said.pending),
        poll_s=parse_duration_s(said.poll),
        owner=owner,
        kinds=GpuKinds(known=said.gpu_kinds),
    )
    return ClusterExecutors(_cluster(config), settings, scratch)


def _cluster(config: Config) -> Cluster:
    said = config.cluster
    if config.backend == "slurm":
        return SlurmCluster(partition=said.partition, account=said.account)
    return RayCluster(said.address, token=_token(said.token_file))


def _token(name: str) -> str:
    if not name:
        return ""
    try:
        with Path(name).open("rb") as file:
            return file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cluster: token_file: {error}") from None
