"""What the virtual world is furnished with: amounts, jobs, and what must hold of nodes."""

import itertools

from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import Engine, JobId, JobSpec, job_id_of
from nunet_node.market.offers import EngineOffer
from nunet_node.protocol import inputs as ins
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

START_S = 1_700_000_000
NS = 1_000_000_000
OUTPUT = Cid.of_raw(b"what the job left")
INPUT = Cid.of_raw(b"what the job needs")


def counting_nonce(seed):
    numbers = itertools.count(1)
    return lambda size: (seed + next(numbers).to_bytes(8, "big")).rjust(size, b"\0")[
        -size:
    ]


def snapshot(node):
    ledger = node._ledger
    return (
        dict(ledger.jobs),
        dict(ledger.orders),
        dict(ledger.replicas),
        set(ledger.active),
        ledger.started_tag,
        ledger.sequence,
        ledger.standing,
    )


def check(peer):
    """Assert what must hold of one node after every input."""
    if peer.capacity is not None and peer.node._provider.desk.awake:
        assert peer.reserved().fits(peer.capacity.total), "more than there is"
    active = {name for name, job in peer.jobs.items() if not job.ended}
    assert set(peer.node._ledger.active) == active
    for record in (*peer.jobs.values(), *peer.orders.values()):
        key = (type(record), record.job)
        owner, state, attempt = peer.seen.get(key, (None, None, 0))
        assert owner in (None, record.owner), "a job changed hands"
        final = state is not None and state.value in FINAL
        assert not final or (record.state is state) or record.attempt > attempt
        peer.seen[key] = (record.owner, record.state, record.attempt)


FINAL = {"completed", "failed", "cancelled", "timed_out", "lost", "refused"}


def capacity(cpus, engines=("process",), *, ready=True):
    return ins.CapacityProbed(
        total=ResourceVector(
            cpu_millis=cpus * 1000, memory_bytes=8 << 30, disk_bytes=8 << 30
        ),
        engines=tuple(
            EngineOffer(engine=e, isolation=e, ready=ready, secrets=e == "process")
            for e in engines
        ),
    )


def spec(cpus=1, **more):
    given = {
        "name": "work",
        "engine": Engine.PROCESS,
        "command": ("true",),
        "resources": ResourceVector(
            cpu_millis=cpus * 1000, memory_bytes=1 << 20, disk_bytes=1 << 20
        ),
    }
    return JobSpec(**{**given, **more})


def job_of(peer, wanted, salt=b"s" * 16) -> JobId:
    return job_id_of(peer.user.did, Cid.of_dag_cbor(encode_record(wanted)), salt)


def place(peer, wanted, salt=b"s" * 16) -> JobId:
    """Submit a job from this peer and let the network settle."""
    job = job_of(peer, wanted, salt)
    sources = tuple(SecretSource(name=name, env=name) for name in wanted.secrets)
    peer.give(ins.OrderWanted(job=job, spec=wanted, salt=salt, secrets=sources))
    peer.world.run()
    return job
