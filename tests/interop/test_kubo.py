"""A Kubo node fetches a public result over Bitswap, and finds nothing private.

Needs Kubo, in an environment below `.make` that `make test-kubo` makes; Kubo's own
code judges every block and writes the files.
"""

import base64
import socket
import subprocess
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.network.host import open_host
from nunet_node.network.port import HostSettings
from nunet_node.results.unixfs import of_tree
from nunet_node.runtime.exchange.public.bitswap import BitswapServer
from nunet_node.runtime.exchange.public.shelf import Shelf
from nunet_node.storage.blocks import BlockStore
from tests.bench.provider import environment
from tests.bench.stores import PLACE
from tests.runtime_kit import store_files

SCRIPT = Path(__file__).parent / "kubo_peer.py"
MODEL = bytes(range(256)) * 12_000
FILES = {
    "stdout": b"said\n",
    "stderr": b"",
    "exit_code": b"0\n",
    "outputs/model": MODEL,
    "outputs/deep/er/file": b"deep",
}
KUBO_KEY = SigningKey(b"k" * 32)
GET_S = 60

pytestmark = pytest.mark.skipif(
    not (PLACE / ".installed").exists(),
    reason="Kubo is not installed; `make test-kubo` installs it",
)


def free_port():
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Kubo:
    """A running Kubo node."""

    def __init__(self, place, port):
        secret = Ed25519PrivateKey.from_private_bytes(KUBO_KEY.seed)
        public = secret.public_key().public_bytes_raw()
        private = b"\x08\x01\x12\x40" + KUBO_KEY.seed + public
        self._process = subprocess.Popen(
            [
                PLACE / "bin" / "python",
                SCRIPT,
                place,
                str(port),
                peer_id_of(KUBO_KEY.did),
                base64.b64encode(private).decode(),
            ],
            env=environment(),
            # Its library writes a log to wherever it runs.
            cwd=place.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear("id ")

    def order(self, line):
        """Give an order, and return what came of it."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._hear("ok ").split()[2]

    def _hear(self, beginning):
        for line in self._process.stdout:
            if line.startswith(beginning):
                return line
        raise AssertionError("Kubo ended")

    def end(self):
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


async def test_kubo_fetches_a_public_result_and_nothing_private(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        built = store_files(store, tmp_path / "files", FILES)
        private = store.put(b"private")
        root = of_tree(built.tree).text
        settings = HostSettings(seed=b"s" * 32, gossip=False)
        kubo = await trio.to_thread.run_sync(Kubo, tmp_path / "kubo", free_port())
        try:
            async with open_host(settings) as host:
                BitswapServer(host, Shelf(store, lambda: [built.root])).serve()
                [address, *_] = host.addresses()
                order = kubo.order
                assert await trio.to_thread.run_sync(order, f"connect {address}") == "0"
                out = tmp_path / "out"
                with trio.fail_after(GET_S):
                    await trio.to_thread.run_sync(
                        order, f"get {root} {out}", abandon_on_cancel=True
                    )
                got = {
                    path.relative_to(out).as_posix(): path.read_bytes()
                    for path in out.rglob("*")
                    if path.is_file()
                }
                assert got == FILES
                hidden = tmp_path / "hidden"
                with trio.move_on_after(2):
                    await trio.to_thread.run_sync(
                        order, f"get {private} {hidden}", abandon_on_cancel=True
                    )
                assert not hidden.exists()
        finally:
            kubo.end()
