"""A host is opened as before; who opens none does not load the library for it."""

import subprocess
import sys

from nunet_node.network.opening import open_host
from nunet_node.network.port import HostSettings


def test_programs_that_open_no_host_do_not_load_the_library():
    script = (
        "import sys\n"
        "import nunet_node.client\n"
        "print([m for m in ('libp2p', 'wasmtime') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


async def test_a_host_is_opened_and_named_by_its_key():
    settings = HostSettings(seed=bytes(32), listen=())
    async with open_host(settings) as host, open_host(settings) as same:
        assert host.peer_id == same.peer_id
