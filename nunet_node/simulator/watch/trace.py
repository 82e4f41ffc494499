"""The digest of a run: equal exactly if everything happened alike.

It covers, for each turn of each machine in order: when, who, which input, which
facts about which jobs, and every frame that was sent, by checksum.
"""

import hashlib
from struct import Struct
from typing import Final
from zlib import crc32

from nunet_node.protocol.effects import Publish, Send
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.world.machine import Machine

TURN: Final = Struct("<5q")
"""One turn: when, who, which input, how many facts and effects, and their checksum."""

WAITING_BYTES_MAX: Final = 80_000
"""Bytes gathered before they are hashed: one call for two thousand turns."""


class Trace:
    """A watcher that makes the digest."""

    idle_too = True

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._kinds: dict[type, int] = {}

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Take one turn into the digest."""
        facts, effects, check = batch.facts, batch.effects, 0
        for effect in effects:
            if type(effect) is Send or type(effect) is Publish:
                check = crc32(effect.data, check)
        for fact in facts:
            check = crc32(
                f"{type(fact).__name__}:{getattr(fact, 'job', '')}".encode(), check
            )
        kind = self._kinds.get(type(given)) or self._kind(type(given))
        counts = len(facts) << 32 | len(effects)
        self._waiting += TURN.pack(now_ns, machine.index, kind, counts, check)
        if len(self._waiting) >= WAITING_BYTES_MAX:
            self._flush()

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Take a boot into the digest."""
        self._waiting += TURN.pack(now_ns, machine.index, 0, 0, machine.boot)

    def digest(self) -> str:
        """Return the digest of everything so far, in hexadecimal."""
        self._flush()
        return self._hash.hexdigest()

    def _kind(self, given: type) -> int:
        return self._kinds.setdefault(given, crc32(given.__name__.encode()))

    def _flush(self) -> None:
        self._hash.update(self._waiting)
        self._waiting.clear()
