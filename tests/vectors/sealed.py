"""A tree, the same files as a sealed result, and their key under its owner's.

`python -m tests.vectors.sealed` writes `results.json`, for whoever writes another
implementation. The file is committed and must not change.
"""

import json
import sys
from pathlib import Path
from typing import Any

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import JobId
from nunet_node.results.layout import exit_code_text
from nunet_node.results.manifest import FileEntry, build
from nunet_node.results.sealed_tree import TreeSealer
from nunet_node.results.sealing import Seal, wrap_key
from nunet_node.wire.cid import Cid

FILE = Path(__file__).with_name("results.json")
OWNER = SigningKey(bytes([1] * 32))
JOB = JobId("a" * 32)
ATTEMPT = 2
KEY = bytes(range(32))
EPHEMERAL = bytes(range(32, 64))
FILES = {
    "exit_code": exit_code_text(0),
    "outputs/made.txt": b"made\n",
    "stderr": b"",
    "stdout": b"begun\n",
}


def document() -> dict[str, Any]:
    """Return what the file says."""
    entries = [
        FileEntry(
            path=path,
            size_bytes=len(data),
            chunks=(Cid.of_raw(data),) if data else (),
        )
        for path, data in FILES.items()
    ]
    plain = build(entries)
    pieces: list[bytes] = []

    def put(piece: memoryview) -> Cid:
        pieces.append(bytes(piece))
        return Cid.of_raw(pieces[-1])

    sealer = TreeSealer(Seal(key=KEY, job=JOB, attempt=ATTEMPT), put)
    for path, data in FILES.items():
        sealer.add(path, [data])
    outer = sealer.finish().outer
    wrapped = wrap_key(
        KEY, reader=OWNER.did, job=JOB, root=outer.root, ephemeral_secret=EPHEMERAL
    )
    return {
        "about": "see docs/protocol/results.md; bytes are in hexadecimal",
        "files": {path: data.hex() for path, data in FILES.items()},
        "plain": _tree(plain),
        "sealed": {
            "owner_seed": bytes([1] * 32).hex(),
            "owner": OWNER.did,
            "job": JOB,
            "attempt": ATTEMPT,
            "key": KEY.hex(),
            "ephemeral_secret": EPHEMERAL.hex(),
            "sealed_key": wrapped.hex(),
            "pieces": [piece.hex() for piece in pieces],
            **_tree(outer),
        },
    }


def _tree(built: Any) -> dict[str, str]:
    return {"root": str(built.root), "manifest": built.blocks[-1][1].hex()}


def text() -> str:
    """Return the text of the file."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stderr.write(f"wrote {FILE.name}\n")
