"""Giving others a part of what is one's own, and taking it back.

Nothing here needs a network: a delegation holds because it is signed. Only that a
revocation is known has to be brought about, which is `Client.revoke`'s.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from nunet_node.capability.command import parse_command
from nunet_node.capability.delegation import Delegation, seal_delegation
from nunet_node.capability.held.parcel import pack, unpack
from nunet_node.capability.held.terms import (
    Defaults,
    Terms,
    meta_of,
    policy_of,
)
from nunet_node.capability.proof_chain import check_joints
from nunet_node.capability.revocation import seal_revocation
from nunet_node.client.errors import ClientError, ResultMissingError
from nunet_node.identity.did import (
    NO_DOCUMENTS,
    VOUCHED,
    Did,
    Documents,
    is_web,
    parse_did,
)
from nunet_node.identity.keys import Signer, SigningKey
from nunet_node.jobs.link import format_link
from nunet_node.jobs.specification import Engine, JobSpec
from nunet_node.protocol.messages import READ
from nunet_node.protocol.order import Order
from nunet_node.results.sealing import KEY_BYTES, unwrap_key, wrap_key
from nunet_node.runtime.home import Home
from nunet_node.runtime.wallet import tokens
from nunet_node.runtime.wallet.external import for_thread
from nunet_node.wire.cid import Cid

NONCE_BYTES: Final = 16
_PLAIN: Final = JobSpec(name="-", engine=Engine.PROCESS, command=("-",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is to be given: to whom, which command, on whose resources, how far."""

    to: str
    command: str
    expires_at_s: int
    terms: Terms = field(default_factory=Terms)
    owner: str | None = None
    """Whose resources; the giver's own unless said."""
    link: str = ""
    """Where a shared job is."""
    sealed_key: bytes = b""
    """Its result's key, sealed to whom it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A delegation as text, with its chain."""

    token: str
    chain: tuple[Delegation, ...]

    @property
    def leaf(self) -> Delegation:
        """The delegation that was made."""
        return self.chain[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """How taking a delegation back went."""

    cid: Cid
    acknowledged: tuple[str, ...]
    """DIDs of the providers that have it on their disks."""
    missed: tuple[tuple[str, str], ...]
    """Providers that did not say so, each with the reason."""


def delegate(home: Home, signer: Signer, grant: Grant) -> Given:
    """Make a delegation, keep it, and return it with the chain that it hangs on.

    Raises:
        ClientError: the resources are somebody else's, and no delegation that is held
            here lets the signer give them on.
        PeerError: a DID or the command is not valid.
    """
    owner = parse_did(grant.owner) if grant.owner else signer.did
    above = _above(home, signer.did, owner, grant)
    data = seal_delegation(
        signer=signer,
        audience=parse_did(grant.to),
        subject=owner,
        command=grant.command,
        nonce=secrets.token_bytes(NONCE_BYTES),
        expires_at_s=grant.expires_at_s,
        policy=policy_of(grant.terms, _defaults()),
        meta=meta_of(grant.terms, grant.link, grant.sealed_key),
    )
    token = pack([*(link.data for link in above), data])
    chain = unpack(token, VOUCHED)
    check_joints(chain)
    tokens.keep_token(home, token, VOUCHED)
    return Given(token=token, chain=chain)


def share(
    home: Home,
    signer: Signer,
    order: Order,
    to: str,
    expires_at_s: int,
    documents: Documents = NO_DOCUMENTS,
) -> Given:
    """Let somebody fetch the result of one job, and nothing else.

    The token opens a sealed result only if the job has ended and the owner's key is
    here; otherwise it says no more than that the reader may fetch it.

    Args:
        home: the home of the owner, or of who was given to share it.
        signer: who shares.
        order: the job's.
        to: the reader's DID.
        expires_at_s: until when, unix time.
        documents: what was fetched of the reader, if its DID does not carry its own.

    Raises:
        ResultMissingError: no provider has the job.
        NoAgreementKeyError: a sealed result cannot be sealed to the reader.
        ClientError: it is somebody else's, and the signer may not share it.
    """
    award = order.award
    owner = order.owner or order.claimed_owner
    if award is None or owner is None or not (order.in_custody or order.spec is None):
        raise ResultMissingError(f"{order.job}: no provider has it, so far")
    grant = Grant(
        to=to,
        command=READ,
        expires_at_s=expires_at_s,
        terms=Terms(job=order.job),
        owner=owner,
        link=order.link
        or format_link(order.job, owner, award.provider, award.addresses),
        sealed_key=_sealed_key(home, order, parse_did(to), documents),
    )
    return delegate(home, signer, grant)


def _sealed_key(home: Home, order: Order, reader: Did, documents: Documents) -> bytes:
    """Return the key of an ended job's result, sealed to a reader; nothing without."""
    notice = order.notice
    if notice is None or notice.result is None or not notice.sealed_key:
        return b""
    for identity in home.identities():
        if identity.did == notice.owner and isinstance(identity.key, SigningKey):
            key = unwrap_key(
                notice.sealed_key,
                reader=identity.did,
                reader_secret=identity.key.key_agreement_secret(),
                job=order.job,
                root=notice.result,
            )
            document = documents.of(reader) if is_web(reader) else None
            return wrap_key(
                key,
                reader=reader,
                job=order.job,
                root=notice.result,
                ephemeral_secret=secrets.token_bytes(KEY_BYTES),
                agreement=(document.key_agreement if document else None) or b"",
            )
    return b""


def revocation(home: Home, chain: tuple[Delegation, ...], now_s: int) -> bytes:
    """Sign that the last link of a chain is void, and keep that in the home.

    For a thread that trio started: a program that signs may take long, and is ended
    when whoever waits for the thread is cancelled.

    Raises:
        ClientError: nobody whose key is here gave any of the links.
    """
    keys = {each.did: for_thread(each.key) for each in home.identities()}
    for link in reversed(chain):
        signer = keys.get(link.issuer)
        if signer is not None:
            data = seal_revocation(
                signer=signer,
                tokens=[each.data for each in chain],
                nonce=secrets.token_bytes(NONCE_BYTES),
                now_s=now_s,
            )
            tokens.keep_void(home, chain[-1].cid, data)
            return data
    givers = ", ".join(dict.fromkeys(link.issuer for link in chain))
    raise ClientError(f"only a giver can take it back, and none is here: {givers}")


def _above(home: Home, giver: Did, owner: Did, grant: Grant) -> tuple[Delegation, ...]:
    if owner == giver:
        return ()
    command = parse_command(grant.command)
    chain = tokens.holdings(home).from_subject(giver, owner, command)
    if chain is None:
        raise ClientError(
            f"{grant.command} of {owner} is not {giver}'s to give: no delegation that "
            "is held here says so (see `nunet-node cap list`)"
        )
    return chain


def _defaults() -> Defaults:
    return Defaults(
        cpu_millis=_PLAIN.resources.cpu_millis,
        memory_bytes=_PLAIN.resources.memory_bytes,
        run_s=_PLAIN.timeouts.run_s,
    )
