"""Holding secrets for a job that has not started: the provider's side.

Rule: they are held in memory, sealed as they came, until their attempt starts or ends,
and no fact ever contains them; so a provider that goes down has nothing of them, and
asks for them again. They are opened once on arrival, to refuse what would be of no use
at the start, and what was opened is forgotten at once.
"""

from typing import Final

from nunet_node.errors import PeerError
from nunet_node.jobs.secrets import SecretsGiven, SecretsUse, open_secrets
from nunet_node.jobs.statements import REASON_CHARS_MAX
from nunet_node.market.offers import Refusal
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk, HeldSecrets

HELD_BYTES_MAX: Final = 16 << 20
"""Most bytes of secrets held at once: the largest of as many jobs as may wait."""


def take(desk: Desk, job: Job, given: SecretsGiven) -> Refusal | None:
    """Hold a job's secrets until it starts, or return why they are of no use.

    What has started or ended already needs none; its owner hears where it stands.
    """
    if given.attempt != job.attempt:
        return Refusal(
            code="job.secrets-attempt",
            reason=f"secrets for attempt {given.attempt}, and it is {job.attempt}",
        )
    if job.started or job.ended or job.cancelling:
        return None
    others = sum(
        len(held.sealed) for name, held in desk.secrets.items() if name != job.job
    )
    if others + len(given.sealed) > HELD_BYTES_MAX:
        return Refusal(
            code="provider.secrets-full",
            reason=f"holds {others} bytes of secrets, limit {HELD_BYTES_MAX}",
        )
    use = SecretsUse(
        job=job.job, attempt=job.attempt, provider=desk.voice.did, owner=job.owner
    )
    try:
        open_secrets(
            given.sealed, use, job.spec.secrets, reader_secret=desk.agreement_secret
        )
    except PeerError as error:
        return Refusal(code=error.code, reason=str(error)[:REASON_CHARS_MAX])
    desk.secrets[job.job] = HeldSecrets(attempt=job.attempt, sealed=given.sealed)
    return None
