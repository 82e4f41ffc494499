"""Opening what was sealed to somebody of this home.

Rule: a sealed result is opened by its owner's key, or by the key of a reader to whom
the owner gave it in a token; the job, the tree and the reader must be the right ones.
"""

from collections.abc import Iterator, Mapping

from nunet_node.capability.held.holdings import Holdings
from nunet_node.capability.held.terms import sealed_key_of
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer, SigningKey
from nunet_node.jobs.statements import Receipt
from nunet_node.results.errors import SealError
from nunet_node.results.sealing import Seal, unwrap_key


def seal_of(
    receipt: Receipt, users: Mapping[Did, Signer], holdings: Holdings
) -> Seal | None:
    """Return what opens the result of a receipt; None if it is public.

    Args:
        receipt: the provider's, verified.
        users: whoever has a key here.
        holdings: the tokens that are held here.

    Raises:
        SealError: nobody whose key is here was given the result's key.
    """
    if not receipt.sealed_key:
        return None
    for reader, wrapped in _ways(receipt, holdings):
        signer = users.get(reader)
        if isinstance(signer, SigningKey):
            try:
                key = unwrap_key(
                    wrapped,
                    reader=reader,
                    reader_secret=signer.key_agreement_secret(),
                    job=receipt.job,
                    root=receipt.result,
                )
            except PeerError:
                # A token of another job, or of an earlier result of this one.
                continue
            return Seal(key=key, job=receipt.job, attempt=receipt.attempt)
    raise SealError(
        f"the result of {receipt.job} is sealed to {receipt.owner}, and no key here "
        "opens it; the owner gives its key with `nunet-node share`, once the job has "
        "ended"
    )


def _ways(receipt: Receipt, holdings: Holdings) -> Iterator[tuple[Did, bytes]]:
    yield receipt.owner, receipt.sealed_key
    for link in holdings.all():
        wrapped = sealed_key_of(link.meta)
        if wrapped:
            yield link.audience, wrapped
