"""Whom a machine reaches under a peer id, where two machines may have the same key.

Rule: as in production, a peer id that one is connected with is that connection's, and
is dialled nowhere; else the address decides. So each of two nodes with one key has the
peers that found it first.
"""

from collections.abc import Callable, Sequence

from nunet_node.errors import MisuseError
from nunet_node.simulator.world.machine import Machine

AreConnected = Callable[[Machine, Machine], bool]


class Whereabouts:
    """All machines, by peer id."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._named: dict[str, list[Machine]] = {}
        for machine in machines:
            self._named.setdefault(machine.peer_id, []).append(machine)
        self.are_connected: AreConnected = _nobody_is

    def of(
        self, machine: Machine, peer_id: str, addresses: Sequence[str] = ()
    ) -> Machine | None:
        """Return whom this machine reaches; None if nobody has such a key."""
        named = self._named.get(peer_id)
        if named is None or len(named) == 1:
            return named[0] if named else None
        found = [each for each in named if each is not machine and each.up]
        near = [each for each in found if self.are_connected(machine, each)]
        there = [each for each in near or found if each.address in addresses]
        return (there or near or found or named)[0]

    def reached(self, machine: Machine, peer_id: str) -> Machine:
        """Return whom this machine talks to under a peer id that it was told.

        Raises:
            MisuseError: nobody has such a key.
        """
        found = self.of(machine, peer_id)
        if found is None:
            raise MisuseError(f"nobody is {peer_id}")
        return found


def _nobody_is(machine: Machine, other: Machine) -> bool:
    """Stand in until sessions are dialled."""
    del machine, other
    return False
