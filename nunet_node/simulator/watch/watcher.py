"""What whoever watches a run is shown; watching changes nothing."""

from typing import Protocol

from nunet_node.protocol.inputs import Input
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.world.machine import Machine


class Watcher(Protocol):
    """Sees every turn of every machine, after its facts are on disk."""

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """See one input, and the facts and effects that follow from it."""

    def booted(self, now_ns: int, machine: Machine) -> None:
        """See a machine that has just read its journal."""
