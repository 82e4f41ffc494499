"""The story of a run in lines that a person can read: who did what to which job.

One line for each fact about a job and each boot; frames and timers are left out.
"""

from collections.abc import Callable
from typing import Final

from nunet_node.protocol import facts as ft
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.world.machine import Machine

LINES_MAX: Final = 10_000
"""Lines kept; a story that is longer is no story."""

JOB_CHARS: Final = 6


class Transcript:
    """A watcher that writes the story down."""

    idle_too = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Write what was decided."""
        del given
        for fact in batch.facts:
            tell = _TELLERS.get(type(fact))
            if tell is not None:
                self._write(now_ns, machine, tell(fact))

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Write that a machine is up."""
        said = "is up again" if machine.boot > 1 else "is up"
        if machine.original is not None and machine.is_new_copy:
            said = f"is up with a copy of the home of {machine.original.name}"
        self._write(now_ns, machine, said)

    def text(self) -> str:
        """Return the whole story."""
        return "".join(f"{line}\n" for line in self.lines)

    def _write(self, now_ns: int, machine: Machine, said: str) -> None:
        if len(self.lines) < LINES_MAX:
            ms = now_ns // 1_000_000
            self.lines.append(
                f"{ms // 1000:6}.{ms % 1000:03}  {machine.name:14} {said}"
            )


def _moved(fact: ft.JobMoved) -> str:
    why = f": {fact.reason}" if fact.reason else ""
    return f"moves {_job(fact)} (attempt {fact.attempt}) to {fact.state}{why}"


def _noticed(fact: ft.NoticeKept) -> str:
    return f"hears that {_job(fact)} is {fact.notice.state}"


def _ended(fact: ft.OrderEnded) -> str:
    return f"ends the order of {_job(fact)} as {fact.state}: {fact.reason}"


def _job(fact: ft.JobFact | ft.OrderFact) -> str:
    return str(fact.job)[:JOB_CHARS]


_TELLERS: Final[dict[type, Callable[..., str]]] = {
    ft.OrderPlaced: lambda fact: f"wants {_job(fact)}",
    ft.AwardIntended: lambda fact: f"awards {_job(fact)}, attempt {fact.attempt}",
    ft.AwardAccepted: lambda fact: f"hears that {_job(fact)} is in custody",
    ft.AwardDropped: lambda fact: f"gives up on {_job(fact)}: {fact.reason}",
    ft.CancelIntended: lambda fact: f"wants {_job(fact)} cancelled",
    ft.CancelKept: lambda fact: f"hears that {_job(fact)} was cancelled",
    ft.ResultFetched: lambda fact: f"has the result of {_job(fact)}",
    ft.JobAccepted: lambda fact: f"takes {_job(fact)}, attempt {fact.attempt}",
    ft.JobStaged: lambda fact: f"has the inputs of {_job(fact)}",
    ft.CancelAccepted: lambda fact: f"will cancel {_job(fact)}",
    ft.JobMoved: _moved,
    ft.NoticeKept: _noticed,
    ft.OrderEnded: _ended,
}
