"""The course of jobs as those who submitted them hear of it, and of the nodes around.

It is made of the news that a node tells alone, so that it can be kept of a simulated
machine and of a real process alike, and both can be laid side by side.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from nunet_node.jobs.lifecycle import STARTED, is_final
from nunet_node.jobs.specification import JobId
from nunet_node.protocol import effects as fx
from nunet_node.protocol.inputs import Input, OrderWanted, PeerGone
from nunet_node.protocol.messages import SUBMIT
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.watch.measures import NS_PER_US, percentiles
from nunet_node.simulator.world.machine import Machine

MOMENTS: Final = ("placed", "bid", "awarded", "accepted", "started", "ended")
"""What is timed, in order: the order is placed; a first bid comes; the winner asks who
we are; it has the job; the job starts; it has ended."""

Course = dict[JobId, dict[str, int]]
"""When each job first came to which moment, in nanoseconds."""


def moment_of(news: fx.News) -> tuple[str, JobId] | None:
    """Return what a piece of news tells of a job's course, if it does."""
    match news:
        case fx.BidCounted(bid=bid) if bid is not None:
            return "bid", news.job
        case fx.Challenged(command=command) if command == SUBMIT:
            return "awarded", news.job
        case fx.OrderAccepted():
            return "accepted", news.job
        case fx.ProviderUnreachable():
            return "silent", news.job
        case fx.OrderChanged(notice=notice) if notice is not None:
            return _state_of(notice.job, notice.state)
        case _:
            return None


@dataclass(slots=True)
class Seen:
    """A watcher that keeps what real processes can tell, too."""

    idle_too = True
    since_ns: int = 0
    """Frames before it are of joining, and belong to no job."""
    course: Course = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    heard: dict[tuple[str, str], int] = field(default_factory=dict)
    """When a machine first heard of another, by peer id."""
    gone: list[tuple[str, str, int]] = field(default_factory=list)
    """Who noticed of whom that it is gone, and when."""
    frames: int = 0
    frame_bytes: int = 0

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Note what was told."""
        if isinstance(given, OrderWanted):
            self.note("placed", given.job, now_ns)
        elif isinstance(given, PeerGone):
            self.gone.append((machine.peer_id, given.peer_id, now_ns))
        for effect in batch.effects:
            if isinstance(effect, fx.Tell):
                self._told(now_ns, machine, effect.news)
            elif isinstance(effect, fx.Send) and now_ns >= self.since_ns:
                self._sent(machine, effect)

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Note nothing of a boot."""

    def note(self, moment: str, job: JobId, at_ns: int, state: str = "") -> None:
        """Keep when a job first came to a moment."""
        times = self.course.setdefault(job, {})
        if times.setdefault(moment, at_ns) == at_ns and moment == "ended":
            self.states[state] += 1

    def _told(self, now_ns: int, machine: Machine, news: fx.News) -> None:
        if isinstance(news, fx.ProviderHeard):
            self.heard.setdefault((machine.peer_id, news.peer_id), now_ns)
        found = None if machine.provides else moment_of(news)
        if found is not None:
            state = ""
            if isinstance(news, fx.OrderChanged) and news.notice is not None:
                state = str(news.notice.state)
            self.note(*found, now_ns, state)

    def _sent(self, machine: Machine, effect: fx.Send) -> None:
        link = machine.sessions.get(effect.session)
        # What providers say to each other is no part of a job.
        if link is None or (link.dialler.provides and link.listener.provides):
            return
        self.frames += 1
        self.frame_bytes += len(effect.data)


def course_measures(course: Course, run_us: Mapping[JobId, int]) -> dict[str, Any]:
    """Return how long each leg of the course took, in microseconds.

    Args:
        course: the moments of each job.
        run_us: how long each job's own work takes; it is left out of the last leg.
    """
    legs = dict[str, list[int]]()
    for job, times in course.items():
        for before, after in pairwise(MOMENTS):
            if before in times and after in times:
                took_us = (times[after] - times[before]) // NS_PER_US
                took_us -= run_us.get(job, 0) if after == "ended" else 0
                legs.setdefault(f"{before}_to_{after}_us", []).append(took_us)
        if "started" in times and "placed" in times:
            whole_us = (times["started"] - times["placed"]) // NS_PER_US
            legs.setdefault("placed_to_started_us", []).append(whole_us)
    return {name: percentiles(taken) for name, taken in legs.items()}


def known_measures(
    heard: Mapping[tuple[str, str], int], ready: Mapping[str, int]
) -> dict[str, Any]:
    """Return how long it took until all knew who came last, and it knew all.

    Args:
        heard: when each machine first heard of each provider.
        ready: when each provider was ready.
    """
    last = max(ready, key=lambda peer_id: ready[peer_id])
    since_ns = ready[last]
    of_last = [at for (_, about), at in heard.items() if about == last]
    by_last = [at for (by, about), at in heard.items() if by == last and about in ready]
    return {
        "newcomer_known_us": percentiles(_since(of_last, since_ns)),
        "newcomer_knows_us": percentiles(_since(by_last, since_ns)),
        "pairs_known": sum(about in ready and by in ready for by, about in heard),
        "pairs": len(ready) * (len(ready) - 1),
    }


def _since(moments: Iterable[int], since_ns: int) -> list[int]:
    return [max(0, at_ns - since_ns) // NS_PER_US for at_ns in moments]


def _state_of(job: JobId, state: Any) -> tuple[str, JobId] | None:
    if is_final(state):
        return "ended", job
    return ("started", job) if state in STARTED else None
