"""What one job may carry in and out, and what it has carried, rule by rule.

Rule: every byte passes `carried` before it goes on, so that neither the volume nor the
pace is exceeded by more than one piece. Counted are the bytes on the connections to
the outside, heads and encryption among them.
"""

from dataclasses import dataclass, field
from typing import Final

import trio

from nunet_node.errors import PeerError

RECEIVED_BYTES_MAX: Final = 16 << 30
"""Bytes from outside in all: more than any job's disk here is commonly given, and
little enough to notice what fetches for ever."""
SENT_BYTES_MAX: Final = 1 << 30
"""Bytes to the outside in all: a provider lends its address for fetching; what a job
has made goes into its result."""
RATE_BYTES_S: Final = 32 << 20
"""Bytes a second of one job, both ways together: a quarter of a fast line, and of what
the node's one thread can pass on while it serves others."""
PIECE_BYTES_MAX: Final = 64 << 10
"""Bytes that are read at once."""


class SpentError(PeerError):
    """The job has carried all that it may."""

    code = "executor.traffic"


@dataclass(slots=True, kw_only=True)
class Carried:
    """What went to and came from the names of one rule."""

    connections: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Traffic:
    """The account of one job."""

    received_bytes_max: int = RECEIVED_BYTES_MAX
    sent_bytes_max: int = SENT_BYTES_MAX
    by_rule: dict[str, Carried] = field(default_factory=dict)
    _free_at: float = 0

    def opened(self, rule: str) -> Carried:
        """Count a connection to a name of this rule of the job, and return its line."""
        line = self.by_rule.setdefault(rule, Carried())
        line.connections += 1
        return line

    def why_spent(self) -> str:
        """Return why nothing more is carried; nothing while there is room."""
        lines = self.by_rule.values()
        if sum(line.received_bytes for line in lines) >= self.received_bytes_max:
            return f"this job has received its {self.received_bytes_max} bytes"
        if sum(line.sent_bytes for line in lines) >= self.sent_bytes_max:
            return f"this job has sent its {self.sent_bytes_max} bytes"
        return ""

    async def carried(self, line: Carried, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes, and wait until their time has come.

        Raises:
            SpentError: they were more than there is room for.
        """
        line.sent_bytes += sent
        line.received_bytes += received
        if why := self.why_spent():
            raise SpentError(why)
        now_s = trio.current_time()
        self._free_at = max(now_s, self._free_at) + (sent + received) / RATE_BYTES_S
        await trio.sleep_until(self._free_at)
