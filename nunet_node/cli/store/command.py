"""``store``: what lies in this home's stores, whether it is whole, and archives.

Rule: a home has two stores. What its node keeps for others is the node's to clear; a
person clears what their own jobs brought.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click

from nunet_node.cli.options import JOB, PATH
from nunet_node.cli.output import Settings, table
from nunet_node.client import ResultMissingError, UnknownJobError
from nunet_node.client.lookup import find_order
from nunet_node.jobs.specification import ResultKind
from nunet_node.quantities import size_text
from nunet_node.results.errors import ManifestError
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.store.archive import (
    Archived,
    export_tree,
    export_unixfs,
    import_archive,
)
from nunet_node.runtime.store.care import Checked, check, clear, held
from nunet_node.storage.blocks import BlockStore, StoreUsage

_FILE: Final = click.argument("file", type=PATH)


@click.group("store", epilog="Next: nunet-node store stat")
def store_command() -> None:
    """Look after the blocks of this home."""


@store_command.command("list", epilog="Next: nunet-node store export JOB FILE")
@click.pass_obj
def list_command(settings: Settings) -> None:
    """List the trees of this home's own jobs that are here."""
    home = open_home(settings.home)
    with _store(home.blocks) as store:
        found = held(home, store)
    settings.document(
        [
            {
                "job": each.job,
                "what": each.what,
                "root": str(each.root),
                **_usage(each.here),
            }
            for each in found
        ]
    )
    if not settings.json:
        rows = [
            (each.job, each.what, size_text(each.here.size_bytes), str(each.root))
            for each in found
        ]
        settings.say(table(("JOB", "WHAT", "SIZE", "ROOT"), rows))
    settings.note("next: nunet-node store stat")


@store_command.command("stat", epilog="Next: nunet-node store verify")
@click.pass_obj
def stat_command(settings: Settings) -> None:
    """Count the blocks: of your own jobs, and kept for others."""
    shown = {}
    for name, path in _stores(open_home(settings.home)):
        with _store(path) as store:
            shown[name] = _usage(store.stat())
    settings.document(shown)
    if not settings.json:
        rows = [
            (name, str(each["blocks"]), size_text(each["size_bytes"]))
            for name, each in shown.items()
        ]
        settings.say(table(("STORE", "BLOCKS", "SIZE"), rows))
    settings.note("next: nunet-node store verify")


@store_command.command("verify", epilog="Next: nunet-node store gc")
@click.pass_obj
def verify_command(settings: Settings) -> int:
    """Read every block again and check it; set aside what is damaged.

    Exit codes: 0 if all are whole, 1 if one is damaged.
    """
    checked: dict[str, Checked] = {}
    for name, path in _stores(open_home(settings.home)):
        with _store(path) as store:
            checked[name] = check(store)
    damaged = [cid for each in checked.values() for cid in each.damaged]
    blocks = sum(each.blocks for each in checked.values())
    size_bytes = sum(each.size_bytes for each in checked.values())
    settings.document(
        {
            "blocks": blocks,
            "size_bytes": size_bytes,
            "damaged": [str(cid) for cid in damaged],
        }
    )
    if not settings.json:
        settings.say(f"{blocks} blocks, {size_text(size_bytes)}: whole")
        for cid in damaged:
            settings.say(f"damaged and set aside: {cid}")
    settings.note("next: nunet-node get JOB fetches what is damaged again")
    return 1 if damaged else 0


@store_command.command("gc", epilog="Next: nunet-node store stat")
@click.pass_obj
def gc_command(settings: Settings) -> None:
    """Delete the blocks that none of your jobs under way needs.

    Fetched results stay where they were written. What a node keeps for others it
    clears by itself.
    """
    home = open_home(settings.home)
    with _store(home.blocks) as store:
        gone = clear(home, store)
    settings.document(_usage(gone))
    if not settings.json:
        settings.say(f"deleted {gone.blocks} blocks, {size_text(gone.size_bytes)}")
    settings.note("next: nunet-node store stat")


@store_command.command("export", epilog="Next: nunet-node store import FILE")
@JOB
@_FILE
@click.pass_obj
def export_command(settings: Settings, job: str, file: Path) -> None:
    """Write the result of JOB, which was fetched, to an archive (CARv1).

    A public result becomes UnixFS, for any IPFS tool; a sealed one stays sealed.
    """
    home = open_home(settings.home)
    orders = read_orders(home)
    found = find_order(orders, job)
    if found is None:
        raise UnknownJobError(job)
    order = orders[found]
    if order.result is None:
        raise ResultMissingError(f"{found}: the job is {order.state}")
    public = order.spec is not None and order.spec.results is ResultKind.PUBLIC
    write = export_unixfs if public else export_tree
    with _store(home.blocks) as store:
        _tell(settings, write(store, order.result, file))
    settings.note(f"next: nunet-node store import {file}")


@store_command.command("import", epilog="Next: nunet-node get JOB")
@_FILE
@click.pass_obj
def import_command(settings: Settings, file: Path) -> None:
    """Store the blocks of an archive (CARv1), so that they need not be fetched."""
    with _store(open_home(settings.home).blocks) as store:
        try:
            archived = import_archive(store, file)
        except ManifestError as error:
            raise ManifestError(f"{file}: {error}") from None
        _tell(settings, archived)
    settings.note("next: nunet-node get JOB")


def _tell(settings: Settings, archived: Archived) -> None:
    settings.document({"root": archived.root, "blocks": archived.blocks})
    if not settings.json:
        settings.say(f"{archived.root}  {archived.blocks} blocks")


def _stores(home: Home) -> list[tuple[str, Path]]:
    stores = [("own", home.blocks), ("kept", home.kept)]
    return [(name, path) for name, path in stores if path.exists()]


@contextmanager
def _store(path: Path) -> Iterator[BlockStore]:
    with closing(BlockStore(path)) as store:
        yield store


def _usage(usage: StoreUsage) -> dict[str, int]:
    return {"blocks": usage.blocks, "size_bytes": usage.size_bytes}
