"""Who runs next: the queue's order, and what may be started now.

Order is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with every
job weighing the same: a job's tag is one more than the larger of its owner's last
tag and the tag of the job started last. So an owner with a hundred jobs advances
by one for each job of every other owner, and no job waits for ever.

Room is given by EASY backfilling (Lifka, "The ANL/IBM SP scheduling system",
1995): the first job in the queue has a promise of the earliest moment at which
enough will be free if everything running takes all its time; a later job may
start before it only if that does not move this moment. So large jobs are not
starved by small ones.

Where room is that of several machines, a job is on one of them. Its graphics processors
are told by their kind, so it is given a kind of which one machine has enough.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import msgspec

from nunet_node.jobs.specification import JobId
from nunet_node.quantities import Gpus, ResourceVector

QUEUE_MAX: Final = 256
"""Jobs waiting at one provider; beyond it a wait would be of no use to anyone."""

QUEUE_PER_OWNER_MAX: Final = 32
"""Jobs of one owner waiting at one provider: an eighth of the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job in the queue."""

    job: JobId
    tag: int
    sequence: int
    """Order of acceptance; breaks ties between tags."""
    need: ResourceVector
    run_s: int
    ready: bool
    """Its inputs are here and its engine can start it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A job that has its resources."""

    need: ResourceVector
    ends_in_s: int
    """Seconds until it is ended if it takes all its time."""


def free_of(total: ResourceVector, held: Iterable[ResourceVector]) -> ResourceVector:
    """Return what is left of ``total``; the sum of ``held`` never exceeds it."""
    used = sum(held, ResourceVector())
    return total.less(used)


def given_of(
    need: ResourceVector,
    free: ResourceVector,
    rooms: Sequence[ResourceVector] = (),
) -> ResourceVector | None:
    """Return what a job holds if it is given room now; None if there is none.

    ``rooms`` are what one job can have at most, all of ``free`` if empty.
    """
    if not need.fits(free):
        return None
    if not rooms or not need.gpu_kinds:
        return need.taken_from(free)
    parts = (free.with_gpus(_both(free, room)) for room in rooms if need.fits(room))
    given = [need.taken_from(part) for part in parts if need.fits(part)]
    return min(given, key=_size, default=None)


def _both(free: ResourceVector, room: ResourceVector) -> tuple[Gpus, ...]:
    """Return of each kind what is free and fits into one room."""
    left = {msgspec.structs.replace(kind, count=1): kind for kind in free.gpu_kinds}
    pairs = (
        (kind, left.get(msgspec.structs.replace(kind, count=1)))
        for kind in room.gpu_kinds
    )
    return tuple(
        min(kind, other, key=lambda each: each.count)
        for kind, other in pairs
        if other is not None
    )


def _size(room: ResourceVector) -> tuple[tuple[int, str, str], ...]:
    return tuple((k.memory_bytes, k.vendor, k.model) for k in room.gpu_kinds)


def in_order(waiting: Iterable[Waiting]) -> tuple[Waiting, ...]:
    """Return the queue, first to start first."""
    return tuple(sorted(waiting, key=lambda w: (w.tag, w.sequence)))


def tag_for(last_tag_of_owner: int, last_tag_started: int) -> int:
    """Return the tag of a job that joins the queue now."""
    return max(last_tag_of_owner, last_tag_started) + 1


def startable(
    total: ResourceVector,
    holding: Sequence[Holding],
    waiting: Iterable[Waiting],
    rooms: Sequence[ResourceVector] = (),
) -> tuple[JobId, ...]:
    """Return the jobs that get their resources now, in order.

    A job that is not ready is passed over and holds nothing back; so is one that
    this machine could not hold even if it were empty, because it offers less now.
    """
    free = free_of(total, (h.need for h in holding))
    held = list(holding)
    chosen: list[JobId] = []
    promise: tuple[int, ResourceVector] | None = None
    for job in in_order(w for w in waiting if w.ready):
        if given_of(job.need, total, rooms) is None:
            continue
        given = given_of(job.need, free, rooms)
        if given is not None and _keeps(promise, job):
            chosen.append(job.job)
            free = free.less(given)
            held.append(Holding(need=given, ends_in_s=job.run_s))
            if promise is not None and job.run_s > promise[0]:
                promise = (promise[0], promise[1].less(given))
        elif promise is None:
            promise = _promise(total, held, job.need, rooms)
    return tuple(chosen)


def starts_in_s(
    total: ResourceVector,
    holding: Sequence[Holding],
    ahead: Iterable[Waiting],
    need: ResourceVector,
    rooms: Sequence[ResourceVector] = (),
) -> int:
    """Return the seconds until ``need`` fits behind everything ``ahead`` of it.

    An upper estimate: it lets every job take all the time it may.
    """
    held = list(holding)
    begin = 0
    for job in in_order(ahead):
        begin = max(begin, _promise(total, held, job.need, rooms)[0])
        held.append(Holding(need=job.need, ends_in_s=begin + job.run_s))
    return max(begin, _promise(total, held, need, rooms)[0])


def _keeps(promise: tuple[int, ResourceVector] | None, job: Waiting) -> bool:
    return promise is None or job.run_s <= promise[0] or job.need.fits(promise[1])


def _promise(
    total: ResourceVector,
    held: Sequence[Holding],
    need: ResourceVector,
    rooms: Sequence[ResourceVector],
) -> tuple[int, ResourceVector]:
    """Return when ``need`` will fit at the latest, and what will be left then."""
    running = sorted(held, key=lambda h: h.ends_in_s)
    # What the last ones hold, from none to all: one addition for each, where a sum
    # for each moment would make a long queue cost the square of its length.
    last = (h.need for h in reversed(running))
    used = tuple(accumulate(last, initial=ResourceVector()))
    for ended in range(len(running) + 1):
        free = total.less(used[len(running) - ended])
        given = given_of(need, free, rooms)
        if given is not None:
            moment = running[ended - 1].ends_in_s if ended else 0
            return moment, free.less(given)
    return running[-1].ends_in_s if running else 0, ResourceVector()
