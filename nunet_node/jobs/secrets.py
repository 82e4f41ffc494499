"""What a job must be told and nobody else may know: named values, sealed.

A specification names a job's secrets and holds none of their values. Once a provider
has accepted the job, whoever submitted it seals the values to that provider's
key-agreement key by HPKE, bound to the job, the attempt, the provider and the owner;
so what was sealed for one attempt opens for no other, at nobody else's.

Rule: keys, randomness and values are arguments, and a value never shows in a repr.
docs/protocol/sessions.md, section 4, is normative.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import msgspec

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, resolve
from nunet_node.identity.safe.hpke import OVERHEAD_BYTES, open_sealed, seal_to
from nunet_node.jobs.specification import SECRETS_MAX, JobId, SecretName
from nunet_node.jobs.statements import Attempt
from nunet_node.wire.schema import Record, decode_record, encode_record

SECRET_BYTES_MAX: Final = 32 << 10
"""Longest value: a chain of certificates or a cluster's credentials; what is larger is
data, and comes as an input."""

SECRETS_BYTES_MAX: Final = 64 << 10
"""Most bytes of all values of a job: they travel in one frame with the specification,
and a provider holds those of every job that waits in memory."""

PLAIN_BYTES_MAX: Final = SECRETS_BYTES_MAX + 80 * SECRETS_MAX
"""Longest encoding of values with their names, of 64 characters each."""

SEALED_BYTES_MAX: Final = PLAIN_BYTES_MAX + OVERHEAD_BYTES
"""Longest that all of a job's secrets are when they are sealed."""

_CONTEXT: Final = b"nunet/job-secrets/1"
_LENGTH_BYTES: Final = 4

Value = Annotated[bytes, msgspec.Meta(max_length=SECRET_BYTES_MAX)]


class SecretsError(PeerError):
    """Sealed secrets are for something else, or are not those of the job."""

    code: ClassVar[str] = "job.secrets-wrong"


class SecretSource(Record):
    """Where the submitting peer reads a secret from; never what it is.

    Invariant: one of ``env`` and ``file`` is said.
    """

    name: SecretName
    env: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """A variable of the environment of whatever process drives the order."""
    file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """A path on the submitting peer's machine."""


class SecretsGiven(Record):
    """What a submit hands over: a job's secrets for one attempt, sealed."""

    attempt: Attempt
    """Which may be one that the provider began by itself."""
    sealed: Annotated[bytes, msgspec.Meta(max_length=SEALED_BYTES_MAX)]


class _Values(Record):
    """What is sealed: every secret of a job, by its name."""

    values: Annotated[dict[SecretName, Value], msgspec.Meta(max_length=SECRETS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsUse:
    """What sealed secrets are for; they open for nothing else."""

    job: JobId
    attempt: int
    provider: Did
    owner: Did

    @property
    def context(self) -> bytes:
        """What the sealed bytes are bound to."""
        parts = (
            self.job.encode(),
            self.attempt.to_bytes(_LENGTH_BYTES, "big"),
            self.provider.encode(),
            self.owner.encode(),
        )
        framed = (len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)
        return _CONTEXT + b"".join(framed)


def why_too_large(values: Mapping[str, bytes]) -> str:
    """Return why these values cannot be a job's secrets; nothing if they can."""
    for name, value in values.items():
        if len(value) > SECRET_BYTES_MAX:
            return f"secret {name}: {len(value)} bytes, limit {SECRET_BYTES_MAX}"
    total = sum(map(len, values.values()))
    if total > SECRETS_BYTES_MAX:
        return f"all secrets together: {total} bytes, limit {SECRETS_BYTES_MAX}"
    return ""


def seal_secrets(
    values: Mapping[str, bytes], use: SecretsUse, *, ephemeral_secret: bytes
) -> bytes:
    """Return a job's secrets, sealed to its provider for one attempt.

    Args:
        values: every secret that the specification names.
        use: what they are for.
        ephemeral_secret: 32 random bytes, used for nothing else.

    Raises:
        SecretsError: they are too large, or the provider's DID has no key to seal to.
    """
    reason = why_too_large(values)
    if reason:
        raise SecretsError(reason)
    public = resolve(use.provider).key_agreement
    if public is None:
        raise SecretsError(f"nothing can be sealed to {use.provider}")
    plain = encode_record(_Values(values=dict(sorted(values.items()))))
    return seal_to(public, ephemeral_secret, use.context, plain)


def open_secrets(
    sealed: bytes, use: SecretsUse, names: Collection[str], *, reader_secret: bytes
) -> dict[str, bytes]:
    """Return the secrets that were sealed to this key for this use.

    Args:
        sealed: what came.
        use: the attempt that is about to start.
        names: what the job's specification calls its secrets.
        reader_secret: the provider's secret X25519 key.

    Raises:
        UnsealError: they were sealed to somebody else or for another attempt, or are
            damaged.
        SecretsError: they are not the secrets that the job names.
        PeerError: what was sealed is no set of secrets.
    """
    plain = open_sealed(reader_secret, use.context, sealed)
    values = decode_record(_Values, plain, bytes_max=PLAIN_BYTES_MAX).values
    if values.keys() != set(names):
        raise SecretsError("not the secrets that the job's specification names")
    reason = why_too_large(values)
    if reason:
        raise SecretsError(reason)
    return values
