"""Faults of a node that each break one promise of the network, as edits of its text.

Rule: an edit's old text stands exactly once in its file, so that none of them can come
to mean nothing. Which promise is found broken first depends on the seed; so a breach
names every promise by which its fault may show.
"""

from dataclasses import dataclass
from typing import Final

PROTOCOL: Final = "nunet_node/protocol/"


@dataclass(frozen=True, slots=True)
class Breach:
    """A fault, and the promises that it may be noticed by; the first is its own."""

    what: str
    promises: tuple[str, ...]
    file: str
    old: str
    new: str
    also: tuple[tuple[str, str, str], ...] = ()
    """More edits, where one line of defence stands behind another."""
    scenario: str = "everything"
    """What is played, of `simulations/`."""


BREACHES: Final = (
    Breach(
        "a provider keeps a job under its own name",
        ("I1", "I5"),
        "provider/submission.py",
        "        job=args.job,\n        owner=owner,\n        attempt=args.attempt,\n"
        "        spec=spec,\n",
        "        job=args.job,\n        owner=desk.voice.did,\n"
        "        attempt=args.attempt,\n        spec=spec,\n",
    ),
    Breach(
        "a job runs that nobody started",
        ("I2",),
        "provider/keeping.py",
        "            move(desk, turn, to(turn, job, State.STARTING))\n",
        "            move(desk, turn, to(turn, job, State.RUNNING))\n",
    ),
    Breach(
        "a result is no reason not to try elsewhere",
        ("I3",),
        "requester/believing.py",
        "        return order if order.ended else None\n",
        "        if order.ended and order.result:\n"
        "            from nunet_node.protocol.facts import AwardIntended\n"
        "            again = AwardIntended(\n"
        "                job=order.job,\n"
        "                attempt=order.award.attempt + 1,\n"
        "                provider=order.award.provider,\n"
        "                peer_id=order.award.peer_id,\n"
        "                addresses=(),\n"
        "                at_s=turn.now.unix_s,\n"
        "            )\n"
        "            memory.record(turn, again)\n"
        "        return order if order.ended else None\n",
    ),
    Breach(
        "room is given that is not there",
        ("I4",),
        "../jobs/scheduler.py",
        "        given = given_of(job.need, free, rooms)\n",
        "        given = given_of(job.need, total, rooms)\n",
    ),
    Breach(
        "anybody may command what is about a job",
        ("I5", "I8"),
        "provider/commands.py",
        "    if job is None or job.owner != given.subject:\n        return UNKNOWN",
        "    if job is None:\n        return UNKNOWN",
    ),
    Breach(
        "what could not be kept is not taken back",
        ("I6", "I2", "I10", "I12"),
        "node.py",
        "                turn.undo()\n",
        "                pass\n",
    ),
    Breach(
        "the oldest job is forgotten, whether it has ended or not",
        ("I6", "I2"),
        "provider/submission.py",
        "    if len(turn.ledger.jobs) < JOBS_KEPT_MAX:\n        return\n"
        "    ended = (j for j in turn.ledger.jobs.values() if j.ended)\n",
        "    if len(turn.ledger.jobs) < 2:\n        return\n"
        "    ended = (j for j in turn.ledger.jobs.values())\n",
    ),
    Breach(
        "a cancelled job is not killed",
        ("I7",),
        "provider/keeping.py",
        "        turn.do(StopJob(job=job.job, attempt=job.attempt))\n        return\n",
        "        return\n",
    ),
    Breach(
        "a confirmation does not wait for the end",
        ("I7",),
        "provider/commands.py",
        "    if job.ended:\n        confirm(",
        "    if True:\n        confirm(",
    ),
    Breach(
        "a challenge can be answered again, and the same submit makes the job anew",
        ("I9", "I2"),
        "provider/submission.py",
        "    if known is None or args.attempt > known.attempt:",
        "    if known is None or args.attempt >= known.attempt:",
    ),
    Breach(
        "who cannot reach a custodian does not try again",
        ("I10",),
        "requester/pursuing.py",
        '    turn.do(SetTimer(name=f"{AGAIN_TIMER}:{order.job}", '
        "at_ns=turn.after_s(pause_s)))\n",
        "",
    ),
    Breach(
        "a notice is kept again whenever it comes again",
        ("I11", "I2"),
        "requester/believing.py",
        "    if said.sequence == last + 1 and said.previous == order.notice_digest:",
        "    if said.sequence <= last + 1:",
        also=(
            (
                "requester/pursuing.py",
                "        after = order.notice.sequence if order.notice else 0\n",
                "        after = 0\n",
            ),
        ),
    ),
    Breach(
        "a custodian that contradicts itself is waited for",
        ("I10",),
        "requester/pursuing.py",
        "    if denied is not None:\n",
        "    if False:\n",
        also=(
            (
                "requester/pursuing.py",
                "            if believing.takes_back(order, said):\n",
                "            if False:\n",
            ),
        ),
        scenario="copied",
    ),
    Breach(
        "a notice is believed whatever it follows",
        ("N1",),
        "requester/believing.py",
        "    if said.sequence == last + 1 and said.previous == order.notice_digest:",
        "    if said.sequence == last + 1:",
        scenario="copied",
    ),
    Breach(
        "that inputs are here is known and never written down",
        ("I12",),
        "provider/keeping.py",
        "        turn.record(JobStaged(job=job.job))\n",
        "        turn.ledger.put(job.job, __import__('dataclasses').replace(job, "
        "staged=True))\n",
    ),
)
