"""Reading a job's secrets where their user keeps them, and opening them for a start.

Rule: a value is in memory for as long as it takes to seal it, or to start the job; it
is never logged, and no error or repr names it. A file is read whole or not at all, and
never more of it than a secret may have.
"""

import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.job_file import JobFile
from nunet_node.jobs.secrets import (
    SECRET_BYTES_MAX,
    SecretSource,
    SecretsUse,
    open_secrets,
    seal_secrets,
    why_too_large,
)
from nunet_node.jobs.specification import JobSpec
from nunet_node.protocol.effects import StartJob
from nunet_node.protocol.secrets.events import SealSecrets, SecretsSealed, SecretsUnread

_EPHEMERAL_BYTES: Final = 32


class SecretUnreadError(PeerError):
    """A secret is not where its user said."""

    code: ClassVar[str] = "job.secret-unread"


def read_secrets(sources: Iterable[SecretSource]) -> dict[str, bytes]:
    """Return the values of secrets, by name. Blocks on the disk.

    Raises:
        SecretUnreadError: one cannot be read, or they are too large.
    """
    values = {source.name: _read(source) for source in sources}
    reason = why_too_large(values)
    if reason:
        raise SecretUnreadError(reason)
    return values


def checked_sources(spec: JobSpec, work: JobFile | JobSpec) -> tuple[SecretSource, ...]:
    """Return sources that hold from any directory, each read once to see that it can.

    Blocks on the disk.

    Args:
        spec: the job, which names secrets.
        work: what it was made from, which may say where they are.

    Raises:
        SecretUnreadError: one is missing, cannot be read, or is too large.
    """
    sources = work.secrets if isinstance(work, JobFile) else ()
    known = {source.name: source for source in sources}
    missing = [name for name in spec.secrets if name not in known]
    if missing:
        raise SecretUnreadError(f"secret {missing[0]}: nothing says where it is")
    found = tuple(map(_anywhere, known.values()))
    read_secrets(found)
    return found


def sealed_for(order: SealSecrets) -> SecretsSealed | SecretsUnread:
    """Read a job's secrets and seal them to its provider. Blocks on the disk."""
    use = SecretsUse(
        job=order.job,
        attempt=order.attempt,
        provider=order.provider,
        owner=order.owner,
    )
    try:
        sealed = seal_secrets(
            read_secrets(order.sources),
            use,
            ephemeral_secret=secrets.token_bytes(_EPHEMERAL_BYTES),
        )
    except PeerError as error:
        return SecretsUnread(job=order.job, reason=str(error))
    return SecretsSealed(
        job=order.job, attempt=order.attempt, provider=order.provider, sealed=sealed
    )


@dataclass(frozen=True, slots=True)
class Unsealer:
    """Opens what was sealed to a node's own key."""

    key: SigningKey

    def open(self, order: StartJob) -> tuple[tuple[str, bytes], ...]:
        """Return the secrets of a job that is about to start.

        Raises:
            PeerError: they are not those of this attempt.
        """
        if not order.spec.secrets:
            return ()
        use = SecretsUse(
            job=order.job,
            attempt=order.attempt,
            provider=self.key.did,
            owner=Did(order.owner),
        )
        values = open_secrets(
            order.secrets,
            use,
            order.spec.secrets,
            reader_secret=self.key.key_agreement_secret(),
        )
        return tuple(values.items())


def _anywhere(source: SecretSource) -> SecretSource:
    if not source.file:
        return source
    whole = str(Path(source.file).expanduser().absolute())
    return msgspec.structs.replace(source, file=whole)


def _read(source: SecretSource) -> bytes:
    if source.env:
        value = os.environb.get(source.env.encode())
        if value is None:
            raise SecretUnreadError(
                f"secret {source.name}: the environment has no variable {source.env}"
            )
        return value
    try:
        return _read_file(Path(source.file))
    except OSError as error:
        raise SecretUnreadError(
            f"secret {source.name}: {source.file}: {error.strerror or error}"
        ) from None


def _read_file(path: Path) -> bytes:
    # Not blocking: what is no file, such as a pipe, must not hold up the order.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a file")
        # One byte more shows that it is too long.
        return source.read(SECRET_BYTES_MAX + 1)
