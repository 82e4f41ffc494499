"""What can go wrong for whoever wants a job done."""

from collections.abc import Mapping

from nunet_node.errors import PeerError
from nunet_node.jobs.specification import JobId
from nunet_node.market.offers import Refusal

UNKNOWN_JOB = "job.unknown"
"""The one answer to whoever asks about a job that is absent or somebody else's."""


class ClientError(PeerError):
    """Something that was asked for cannot be had."""

    code = "client"


class UnknownJobError(ClientError):
    """There is no such job, or it is not ours: nobody says which."""

    code = UNKNOWN_JOB

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: no such job, or not yours")


class AmbiguousJobError(ClientError):
    """A prefix or a name fits several jobs."""

    code = "job.ambiguous"

    def __init__(self, what: str, jobs: Mapping[JobId, str]) -> None:
        listed = ", ".join(f"{job} ({about})" for job, about in sorted(jobs.items()))
        super().__init__(f"{what!r} fits several jobs, give the id of one: {listed}")


class NoNetworkError(ClientError):
    """No other peer was found."""

    code = "network.none"


class ProviderUnreachableError(ClientError):
    """The provider that keeps the job does not answer."""

    code = "peer.unreachable"


class LogsCutOffError(ProviderUnreachableError):
    """What a copy has of the logs was shown; there may be more, which nobody has."""


class ResultMissingError(ClientError):
    """There is no result to fetch, or not yet."""

    code = "result.none"


class CommandRefusedError(ClientError):
    """A provider refused a command, signed."""

    code = "command.refused"


class InputsError(ClientError):
    """A file that the job wants to bring cannot be brought."""

    code = "spec.inputs"


def refused(what: str, refusal: Refusal) -> ClientError:
    """Return the error for a provider's refusal."""
    if refusal.code in (UNKNOWN_JOB, "job.nowhere"):
        return UnknownJobError(what)
    if refusal.code == ResultMissingError.code:
        return ResultMissingError(f"{what}: {refusal.reason}")
    return CommandRefusedError(f"{what}: refused: {refusal.reason} ({refusal.code})")
