"""What whoever watches a run is shown; watching changes nothing."""

from typing import Protocol

from nunet_node.protocol.inputs import Input
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.world.machine import Machine


class Watcher(Protocol):
    """Sees the turns of every machine, after their facts are on disk."""

    idle_too: bool
    """Whether it is shown as well what decides nothing, and orders nothing but that
    one piece of news be told: nearly every turn, for adverts are that."""

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """See one input, and the facts and effects that follow from it."""

    def booted(self, now_ns: int, machine: Machine) -> None:
        """See a machine that has just read its journal."""
