"""What the node orders about secrets, and what it hears of them.

Rule: the core meets secrets sealed. Their values are read by the shell of the
submitting peer, which seals them, and opened by the shell of the provider, just before
the job starts.
"""

from dataclasses import dataclass

from nunet_node.identity.did import Did
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSecrets:
    """Read a job's secrets and seal them to its provider, anew each time.

    Answered by `SecretsSealed` or `SecretsUnread`.
    """

    job: JobId
    attempt: int
    provider: Did
    owner: Did
    sources: tuple[SecretSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSealed:
    """The job's secrets were read, and sealed to its provider."""

    job: JobId
    attempt: int
    provider: Did
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsUnread:
    """A secret of the job cannot be read now."""

    job: JobId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsAwaited:
    """News: the job has a provider, and waits for a secret that cannot be read."""

    job: JobId
    reason: str


SecretsNews = SecretsSealed | SecretsUnread
