"""Logs that no result has, as a tree that can be copied like a result.

While a job runs that wants copies its logs are packed every moment, and once more when
it ends without a result. The custodian signs how far they go, so that whoever has a
copy can show it. Rule: what was packed last of an attempt is never replaced by less.
"""

from nunet_node.jobs.statements import LOG_RECEIPT, LogReceipt
from nunet_node.protocol.facts import LogsPacked
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.replicas.events import LogsStored
from nunet_node.protocol.sessions import LASTING_TTL_S
from nunet_node.protocol.turn import Turn


def is_to_be_packed(job: Job) -> bool:
    """Tell whether there may be more of a job's logs than was packed."""
    if not job.spec.replicas or job.result is not None or job.expired:
        return False
    if not job.ended:
        return job.started
    return job.log is not None and (job.packed is None or not job.packed.ended)


def packed(desk: Desk, turn: Turn, given: LogsStored) -> None:
    """Sign and record how far the logs go that are in the store now."""
    job = turn.ledger.jobs.get(given.job)
    if job is None or job.attempt != given.attempt or not is_to_be_packed(job):
        return
    ended = job.ended and job.log == given.head
    before = (job.packed.links, job.packed.ended) if job.packed else (0, False)
    if (given.head.links, ended) <= before:
        return
    receipt = LogReceipt(
        job=job.job,
        owner=job.owner,
        attempt=job.attempt,
        root=given.root,
        links=given.head.links,
        digest=given.head.digest,
        at_s=turn.now.unix_s,
        ended=ended,
    )
    turn.record(
        LogsPacked(
            job=job.job,
            attempt=job.attempt,
            root=given.root,
            size_bytes=given.size_bytes,
            at_s=turn.now.unix_s,
            receipt=desk.voice.state(
                turn, LOG_RECEIPT, receipt, job.owner, LASTING_TTL_S
            ),
            links=given.head.links,
            ended=ended,
        )
    )
