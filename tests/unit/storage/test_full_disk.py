"""A disk that is really full: a small one of our own, in a namespace of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import LedgerUnwritableError, StoreUnavailableError
from nunet_node.storage.journal import Journal
from nunet_node.storage.journal.ballast import Ballast

disk = Path(sys.argv[1])
journal = Journal.open(disk / "journal")
store = BlockStore(disk / "store")
journal.append([("node", b"first")])
ballast = Ballast(disk / "ballast", size_bytes=200_000)
assert ballast.hold()
kept = store.put(b"kept")

filled = 0
try:
    while True:
        with store.batch() as batch:
            for part in range(8):
                batch.put(b"%d.%d" % (filled, part) * 2000)
        filled += 1
except StoreUnavailableError as error:
    assert "the disk is full" in str(error), error
assert store.stat().blocks == filled * 8 + 1
assert store.get(kept) == b"kept"

recorded = 1
try:
    while True:
        journal.append([("node", b"more" * 500), ("job", b"more")])
        recorded += 2
except LedgerUnwritableError as error:
    assert "the disk is full" in str(error), error
    assert "SQLITE_FULL" in str(error), error
assert len(list(journal.read())) == recorded

assert ballast.let_go()
journal.append([("node", b"the disk is full")])
recorded += 1

for cid in list(store.cids()):
    store.delete(cid)
assert journal.append([("node", b"last")]) == recorded + 1
journal.close()
with Journal.open(disk / "journal") as journal:
    assert len(list(journal.read())) == recorded + 1
print("survived")
"""


def test_a_full_disk_loses_nothing_and_is_left_behind_by_deleting(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*namespace, *mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine does not let us mount a small disk")
    shell = (
        'script=$1; disk=$2; python=$3; shift 3; "$@" && "$python" -c "$script" "$disk"'
    )
    child = subprocess.run(
        [
            *namespace,
            "sh",
            "-c",
            shell,
            "sh",
            SCRIPT,
            str(tmp_path),
            sys.executable,
            *mount,
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert child.stdout == "survived\n", child.stderr
