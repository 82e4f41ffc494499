"""Opening a host, whose library is loaded when one is opened for the first time.

Rule: whoever only mentions the network does not wait for it. Loading py-libp2p takes
longer than all else that a command does which lists what this home knows already.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nunet_node.network.port import Host, HostSettings


@asynccontextmanager
async def open_host(settings: HostSettings) -> AsyncIterator[Host]:
    """Run a host for as long as the block; see `network.host.open_host`."""
    from nunet_node.network import host  # noqa: PLC0415 - slow to import

    async with host.open_host(settings) as opened:
        yield opened
