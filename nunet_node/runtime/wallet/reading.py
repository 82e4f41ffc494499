"""What somebody of this home may do and read of a job.

Rule: a sealed result is opened by its owner's key, or by the key of a reader to whom
the owner gave it in a token; the job, the tree and the reader must be the right ones.
"""

from collections.abc import Collection, Iterator, Mapping

from nunet_node.capability.command import Command
from nunet_node.capability.held.holdings import Holdings
from nunet_node.capability.held.terms import sealed_key_of
from nunet_node.capability.proof_chain import Act
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer, SigningKey
from nunet_node.jobs.statements import Notice, Receipt
from nunet_node.protocol.order import Order
from nunet_node.results.errors import SealError
from nunet_node.results.logs.chain import LogChain, LogHeader, key_of
from nunet_node.results.sealing import Seal, unwrap_key


def may_use(
    order: Order,
    command: str,
    users: Collection[Did],
    holdings: Holdings,
    now_s: int,
) -> bool:
    """Tell whether a user, or a delegation that is held here, may use a command."""
    owner = order.owner
    if owner is None or owner in users:
        return True
    args = {"job": order.job}
    acts = (
        Act(invoker=user, subject=owner, command=Command(command), args=args)
        for user in users
    )
    return any(holdings.chain(act, now_s) is not None for act in acts)


def seal_of(
    told: Receipt | Notice, users: Mapping[Did, Signer], holdings: Holdings
) -> Seal | None:
    """Return what opens the result that is told of; None if it is public.

    Args:
        told: what the provider signed of it, verified.
        users: whoever has a key here.
        holdings: the tokens that are held here.

    Raises:
        SealError: nobody whose key is here was given the result's key.
    """
    root = told.result
    if root is None or not told.sealed_key:
        return None
    for reader, wrapped in _ways(told, holdings):
        signer = users.get(reader)
        if isinstance(signer, SigningKey):
            try:
                key = unwrap_key(
                    wrapped,
                    reader=reader,
                    reader_secret=signer.key_agreement_secret(),
                    job=told.job,
                    root=root,
                )
            except PeerError:
                # A token of another job, or of an earlier result of this one.
                continue
            return Seal(key=key, job=told.job, attempt=told.attempt)
    raise SealError(
        f"the result of {told.job} is sealed to {told.owner}, and no key here "
        "opens it; the owner gives its key with `nunet-node share`, once the job has "
        "ended"
    )


def open_chain(header: LogHeader, users: Mapping[Did, Signer]) -> LogChain:
    """Return a chain of logs, to be read from its first link on.

    Raises:
        SealError: it is sealed to somebody whose key is not here.
    """
    if not header.sealed_key:
        return LogChain(header=header)
    signer = users.get(header.owner)
    if not isinstance(signer, SigningKey):
        raise SealError(
            f"these logs are sealed to {header.owner}, whose key is not here"
        )
    return LogChain(header=header, key=key_of(header, signer.key_agreement_secret()))


def _ways(told: Receipt | Notice, holdings: Holdings) -> Iterator[tuple[Did, bytes]]:
    yield told.owner, told.sealed_key
    for link in holdings.all():
        wrapped = sealed_key_of(link.meta)
        if wrapped:
            yield link.audience, wrapped
