"""A whole client: from bids to a result, from docs/protocol alone.

Rule: what the node answers is checked against what was asked before it is used.
"""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.interop.stranger import schema, trees, wire
from tests.interop.stranger.session import ClosedError, Session, Stranger, Stream
from tests.interop.stranger.trees import Blocks, Files, Tree
from tests.interop.stranger.wire import Identity, Statement

BLOCKS: Final = "/nunet/blocks/1"
BULK: Final = "/nunet/bulk/1"
LOGS: Final = "/nunet/logs/1"
ADVERTS: Final = "topic:/nunet/capacity/1"
ENDED: Final = ("completed", "failed", "cancelled", "timed_out", "lost", "refused")
RESOURCES: Final = {
    "cpu_millis": 100,
    "memory_bytes": 256 << 20,
    "disk_bytes": 64 << 20,
}


def job_id(owner: str, spec: dict[str, Any], salt: bytes) -> str:
    """sessions.md, section 4."""
    digest = hashlib.sha256(b"nunet/job/1")
    for part in (owner.encode(), wire.cid_of(wire.encode(spec)), salt):
        digest.update(len(part).to_bytes(4, "big") + part)
    return wire.base32(digest.digest())[:32]


@dataclass
class Job:
    """A job of an owner, and what was told about it."""

    owner: Identity
    spec: dict[str, Any]
    salt: bytes = field(default_factory=lambda: os.urandom(16))
    notices: list[Statement] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Binds the owner, the specification and the salt."""
        return job_id(self.owner.did, self.spec, self.salt)

    @property
    def state(self) -> str:
        """The last state that was told."""
        return str(self.notices[-1].value["state"])

    def note(self, notice: Statement) -> None:
        """Take a notice, if it is the next one."""
        value = notice.value
        before = self.notices[-1].data if self.notices else None
        assert value["job"] == self.id
        assert value["owner"] == self.owner.did
        assert value["sequence"] == len(self.notices) + 1
        assert value["previous"] == (
            hashlib.sha256(before).digest() if before is not None else b""
        )
        self.notices.append(notice)


async def adverts(session: Session) -> list[Statement]:
    """Ask for the adverts that the node has heard, its own among them."""
    body = await session.ask({"kind": "adverts-wanted"})
    assert body["kind"] == "adverts"
    return [wire.open_statement(each, "advert", ADVERTS) for each in body["items"]]


async def bid(session: Session, spec: dict[str, Any]) -> Statement:
    """Call for a bid on a specification."""
    call = {
        "call": os.urandom(16),
        "spec": wire.link(wire.cid_of(wire.encode(spec))),
        "engine": spec["engine"],
        "resources": spec["resources"],
        "run_s": spec["timeouts"]["run_s"],
    }
    if "inputs_bytes" in spec:
        call["inputs_bytes"] = spec["inputs_bytes"]
    schema.check("call", call)
    stated = wire.state("call", session.peer, session.node_did, call)
    body = {"kind": "stated", "statement_kind": "call", "data": stated}
    made = session.opened(await session.ask(body), "bid", session.peer.did)
    assert made.value["call"] == call["call"]
    return made


async def submit(session: Session, job: Job, attempt: int = 1) -> Statement:
    """Award: hand a job over; the session then tells its notices."""
    args = {"job": job.id, "attempt": attempt, "salt": job.salt, "spec": job.spec}
    accepted = await told(session, job.owner, "submit", "accepted", args)
    value = accepted.value
    assert (value["job"], value["owner"]) == (job.id, job.owner.did)
    assert wire.linked(value["spec"]) == wire.cid_of(wire.encode(job.spec))
    return accepted


async def told(
    session: Session, owner: Identity, command: str, kind: str, args: dict[str, Any]
) -> Statement:
    """Carry out a command on a job as its owner, and return what is stated."""
    body = await session.command(owner, owner.did, f"/nunet/job/{command}", args)
    return session.opened(body, kind, owner.did)


async def follow_to(session: Session, job: Job, *states: str) -> Statement:
    """Take notices until one tells one of ``states``."""
    while not job.notices or job.state not in states:
        job.note(await session.next_notice(job.owner.did))
        assert job.state in states or job.state not in ENDED, job.notices[-1].value
    return job.notices[-1]


async def hand_over(stranger: Stranger, job: Job, tree: Tree, attempt: int = 1) -> int:
    """Give a provider a job's inputs; return how many blocks it wanted."""
    stream = await stranger.stream(BLOCKS)
    root = wire.link(tree.root)
    await stream.send(
        {"kind": "offer", "job": job.id, "attempt": attempt, "root": root}
    )
    given = 0
    while (frame := await _bulk(stream))["kind"] != "staged":
        assert frame["kind"] == "want", frame
        for each in frame["cids"]:
            await _serve(stream, tree.blocks[wire.linked(each)])
            given += 1
    await stream.finish()
    return given


async def _bulk(stream: Stream) -> dict[str, Any]:
    frame: dict[str, Any] = await stream.receive()
    schema.check(frame["kind"], frame)
    return frame


async def _serve(stream: Stream, data: bytes) -> None:
    await stream.send({"kind": "block", "size_bytes": len(data)})
    await stream.send_raw(data)


async def block(stream: Stream, cid: bytes) -> bytes | None:
    """Ask for a block, and check it; None if it is not to be had."""
    await stream.send({"kind": "want", "cids": [wire.link(cid)]})
    answer = await _bulk(stream)
    if answer["kind"] == "no":
        return None
    assert answer["kind"] == "block"
    data = await stream.exactly(answer["size_bytes"])
    assert hashlib.sha256(data).digest() == cid[-32:]
    return data


async def fetch(stranger: Stranger, root: bytes) -> Files:
    """Fetch a tree that was granted."""
    stream = await stranger.stream(BLOCKS)
    found: Blocks = {}
    manifest = await block(stream, root)
    assert manifest is not None
    files = {}
    for entry in trees.entries_of(manifest):
        files[entry["path"]] = b""
        for cid, size_bytes in trees.chunks_of(entry):
            found[cid] = found.get(cid) or await block(stream, cid) or b""
            assert len(found[cid]) == size_bytes
            files[entry["path"]] += found[cid]
    await stream.finish()
    return files


async def result(
    stranger: Stranger, session: Session, job: Job
) -> tuple[Statement, Files]:
    """Read a job's sealed result as its owner: the receipt and the files."""
    args = {"job": job.id}
    body = await session.command(job.owner, job.owner.did, "/nunet/result/read", args)
    receipt = session.opened(body, "receipt", job.owner.did)
    root = wire.linked(receipt.value["result"])
    stored = await fetch(stranger, root)
    key = trees.result_key(receipt.value["sealed_key"], job.owner, job.id, root)
    return receipt, trees.unsealed(stored, key, job.id, receipt.value["attempt"])


async def logs(
    stranger: Stranger, job: Job, **more: Any
) -> AsyncIterator[dict[str, Any]]:
    """Follow the logs of a job's first attempt, to their end or the node's no."""
    stream = await stranger.stream(LOGS)
    asked = {"kind": "follow", "job": job.id, "attempt": 1, **more}
    schema.check("follow", asked)
    await stream.send(asked)
    while True:
        frame = await _bulk(stream)
        yield frame
        if frame["kind"] in ("end", "no"):
            break
    with contextlib.suppress(ClosedError):
        await stream.finish()
