"""Finding the job that a command is about, and a client that can ask about it.

Rule: these work from any home that holds the owner's key. The home that submitted
knows where its jobs are; elsewhere a link says it, or the network is asked.
"""

from collections.abc import Awaitable, Callable

import trio

from nunet_node.cli.identity import ensure_identity
from nunet_node.cli.output import Settings
from nunet_node.cli.progress import Teller
from nunet_node.client import JobHandle, open_client
from nunet_node.runtime.home import open_home

Use = Callable[[JobHandle], Awaitable[int]]
"""What a command does with a job; returns the exit code."""


def with_job(
    settings: Settings,
    word: str,
    bootstrap: tuple[str, ...],
    identity: str,
    use: Use,
    *,
    tell: bool = False,
) -> int:
    """Find a job and use it; what happens to it is told meanwhile if ``tell``."""
    home = open_home(settings.home)
    ensure_identity(settings, home, identity)

    async def run() -> int:
        async with open_client(home, bootstrap=bootstrap, identity=identity) as client:
            handle = await client.find(word, Teller(settings) if tell else None)
            return await use(handle)

    return trio.run(run)
