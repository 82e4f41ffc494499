"""A peer of iroh 0.35 with a store on disk, for `tests.bench.transfer`.

Runs under an interpreter that has iroh, not under ours. ``serve DIRECTORY FILE`` adds
a file, prints where it is, and serves it until its input ends; ``fetch DIRECTORY WHERE``
fetches it and prints the seconds that took, once for each line of input.
"""

import asyncio
import json
import os
import sys
import time

import iroh


def say(*words):
    """Answer with one line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Added:
    """Hears what became of a file that is added."""

    def __init__(self):
        self.hash = None

    async def progress(self, said):
        """Take note of the hash."""
        if said.type() == iroh.AddProgressType.ALL_DONE:
            self.hash = said.as_all_done().hash


class Quiet:
    """Hears how a download goes on, and says nothing."""

    async def progress(self, said):
        """Do nothing."""


async def node(directory):
    """Open a node that finds nobody by itself."""
    iroh.iroh_ffi.uniffi_set_event_loop(asyncio.get_running_loop())
    options = iroh.NodeOptions(
        node_discovery=iroh.NodeDiscoveryConfig.NONE, ipv4_addr="127.0.0.1:0"
    )
    return await iroh.Iroh.persistent_with_options(directory, options)


async def serve(directory, file):
    """Add a file, and serve it."""
    here = await node(directory)
    added = Added()
    tag, wrap = iroh.SetTagOption.auto(), iroh.WrapOption.no_wrap()
    await here.blobs().add_from_path(file, False, tag, wrap, added)
    place = await asyncio.wait_for(here.net().node_addr(), 20)
    near = [each for each in place.direct_addresses() if each.startswith("127.")]
    where = [
        await here.net().node_id(),
        near or place.direct_addresses(),
        str(added.hash),
    ]
    say(json.dumps(where))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def fetch(directory, where):
    """Fetch once for each line, into an empty store each time."""
    identity, addresses, digest = json.loads(where)
    key = iroh.PublicKey.from_string(identity)
    for turn, _ in enumerate(sys.stdin):
        here = await node(f"{directory}-{turn}")
        options = iroh.BlobDownloadOptions(
            iroh.BlobFormat.RAW,
            [iroh.NodeAddr(key, None, addresses)],
            iroh.SetTagOption.auto(),
        )
        began = time.perf_counter()
        await here.blobs().download(iroh.Hash.from_string(digest), options, Quiet())
        say(time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run({"serve": serve, "fetch": fetch}[sys.argv[1]](*sys.argv[2:]))
    os._exit(0)
