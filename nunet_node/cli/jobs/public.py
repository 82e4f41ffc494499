"""``get CID``: a public result by its id alone, from anybody who has it.

Rule: an id that a job of this home has as its result means that job, whose provider
and whose key are known here; any other is asked of everybody.
"""

from pathlib import Path
from typing import Final

import click
import trio

from nunet_node.cli.identity import ensure_identity
from nunet_node.cli.output import Bar, Settings
from nunet_node.client import DEFAULT_IDENTITY, open_client
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.home import open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.storage.materialise import check_target
from nunet_node.wire.cid import DAG_CBOR, Cid
from nunet_node.wire.errors import CidError

IPFS_PREFIX: Final = "bafybei"
"""How the names begin by which IPFS tools know directories."""


def root_of(word: str) -> Cid | None:
    """Return the id of a result if that is what a word is.

    Raises:
        click.UsageError: it is the name by which IPFS tools know one.
    """
    try:
        cid = Cid.parse(word)
    except CidError:
        if word.startswith(IPFS_PREFIX):
            raise click.UsageError(
                f"{word} is a name for IPFS tools; here a public result is fetched by "
                "the id that `nunet-node status` shows as its result"
            ) from None
        return None
    return cid if cid.codec == DAG_CBOR else None


def own_job(settings: Settings, root: Cid) -> str | None:
    """Return the job of this home that has this result, if there is one."""
    orders = read_orders(open_home(settings.home)).values()
    return next((order.job for order in orders if order.result == root), None)


def get_public(
    settings: Settings, root: Cid, out: Path | None, bootstrap: tuple[str, ...]
) -> int:
    """Fetch a public result, and say where it is."""
    ensure_identity(settings, open_home(settings.home), DEFAULT_IDENTITY)
    target = out or Path(str(root))
    check_target(target)
    bar = Bar(settings)

    def dropped(peer_id: str, why: str) -> None:
        bar.clear()
        settings.note(f"peer {peer_id} is dropped, others are asked: {why}")

    async def run() -> None:
        listener = Listener(on_progress=bar, on_dropped=dropped)
        home = open_home(settings.home)
        async with open_client(home, bootstrap=bootstrap) as client:
            await client.fetch_public(root, target, listener)

    try:
        trio.run(run)
    finally:
        bar.clear()
    path = Path.cwd() / target
    settings.document({"result": {"cid": str(root), "path": str(path)}})
    if not settings.json:
        settings.say(str(path))
    settings.note(f"every block is what {root} names; next: ls -R {path}")
    return 0
