"""People who delegate to each other, for tests of providers that believe them."""

import itertools

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.held.holdings import Holdings
from nunet_node.capability.held.terms import Defaults, meta_of, policy_of
from nunet_node.capability.revocation import open_revocation, seal_revocation
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import job_id_of
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.trust.events import RevokeWanted
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record
from tests.unit.protocol.world import START_S

COLD, ANCHOR, FRIEND = (SigningKey(bytes([200 + i]) * 32) for i in range(3))
DEFAULTS = Defaults(cpu_millis=1000, memory_bytes=256 << 20, run_s=3600)
_nonces = itertools.count(1)


def link(giver, taker, *, terms=None, ttl_s=86_400, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": giver.did,
        "command": "/nunet",
        "nonce": next(_nonces).to_bytes(12, "big"),
        "expires_at_s": START_S + ttl_s,
        "policy": policy_of(terms, DEFAULTS) if terms else (),
        "meta": meta_of(terms) if terms else None,
    }
    return open_delegation(seal_delegation(**{**given, **changes}))


def held(*links):
    return Holdings(links)


def revocation(signer, *links):
    data = seal_revocation(
        signer=signer,
        tokens=[each.data for each in links],
        nonce=next(_nonces).to_bytes(12, "big"),
        now_s=START_S,
    )
    return open_revocation(data)


def place_for(peer, owner, wanted, salt=b"s" * 16):
    """Submit a job on somebody's behalf and let the network settle."""
    job = job_id_of(owner.did, Cid.of_dag_cbor(encode_record(wanted)), salt)
    sources = tuple(SecretSource(name=name, env=name) for name in wanted.secrets)
    placed = ins.OrderWanted(
        job=job, spec=wanted, salt=salt, owner=owner.did, secrets=sources
    )
    peer.give(placed)
    peer.world.run()
    return job


def revoke(peer, revocation, *providers):
    """Take a delegation back at these providers, and let the network settle."""
    reached = tuple((each.did, each.peer_id, ()) for each in providers)
    peer.give(RevokeWanted(cid=revocation.cid, data=revocation.data, providers=reached))
    peer.world.run()
