"""The logs of a job without a result, from docs/protocol/results.md alone.

Rule: nothing of a chain is believed that does not come to what its provider signed.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from tests.interop.stranger import schema, trees, wire
from tests.interop.stranger.wire import Identity

_CONTEXT: Final = b"nunet/log/1"


@dataclass(frozen=True)
class Logs:
    """What a job wrote, and the chain that says so."""

    stdout: bytes
    stderr: bytes
    links: int
    digest: bytes


def opened(records: list[bytes], reader: Identity, job: str, attempt: int) -> Logs:
    """Open a sealed chain, its header first."""
    header, *links = (wire.decode(record) for record in records)
    schema.check("log-header", header)
    assert (header["job"], header["attempt"]) == (job, attempt)
    assert header["owner"] == reader.did
    key = _key_of(header, reader)
    digest = hashlib.sha256(_CONTEXT + records[0]).digest()
    stdout = stderr = b""
    for number, (link, record) in enumerate(zip(links, records[1:], strict=True)):
        schema.check("log-link", link)
        nonce = number.to_bytes(12, "big")
        said = wire.decode(trees.aead_open(link["data"], _CONTEXT + digest, nonce, key))
        schema.check("log-bytes", said)
        stdout += said.get("stdout", b"")
        stderr += said.get("stderr", b"")
        assert len(stdout) == link["stdout_end"]
        assert len(stderr) == link["stderr_end"]
        digest = hashlib.sha256(digest + record).digest()
    return Logs(stdout, stderr, len(links), digest)


def _key_of(header: dict[str, Any], reader: Identity) -> bytes:
    bare = {name: value for name, value in header.items() if name != "sealed_key"}
    place = wire.cid_of(wire.encode(bare))
    return trees.result_key(header["sealed_key"], reader, header["job"], place)
