"""``up`` and ``nodes``: be part of the network, and see who else is.

Rule: the first thing that ``up`` prints is where it can be reached; programs wait
for that line. A node that is asked to stop drains first; asked twice, it stops.
Nobody has to read what it prints: see `cli.machine.feed`.
"""

import gc
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import trio

from nunet_node.cli.identity import ensure_identity
from nunet_node.cli.machine.feed import unhindered
from nunet_node.cli.options import (
    ANNOUNCE,
    BOOTSTRAP,
    IDENTITY,
    LISTEN,
    Parsed,
    Whole,
    checked,
)
from nunet_node.cli.output import Settings, table, visible
from nunet_node.cli.progress import line_of, short
from nunet_node.client import node_documents, open_client
from nunet_node.executors.port import Executors
from nunet_node.executors.sandbox.nvml import usable_devices
from nunet_node.identity.did import Did, parse_did
from nunet_node.network.did_web import web_fetch
from nunet_node.protocol.effects import (
    ClockDoubted,
    DiskChanged,
    JobMovedHere,
    News,
    OrderChanged,
    ProviderHeard,
    ProviderUnreachable,
)
from nunet_node.protocol.replicas.events import ReplicaMoved
from nunet_node.protocol.requester.calling import CLOCK_DOUBTED
from nunet_node.quantities import (
    Gpus,
    cpu_text,
    parse_cpu_millis,
    parse_price_micro_ntx,
    parse_size_bytes,
    size_text,
)
from nunet_node.runtime.config import Config, check_admission, read_config
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.peer import Peer, open_peer
from nunet_node.runtime.settings import PeerSettings, Provide

_DISK_FULL: Final = (
    "the disk is full: no new work is taken until there is room; results are served, "
    "and jobs can be cancelled"
)
_DISK_ROOM: Final = "the disk has room again: new work is taken"

_STOP: Final = (signal.SIGINT, signal.SIGTERM)


@click.command("up", epilog="Then, elsewhere: nunet-node submit --bootstrap ADDRESS …")
@LISTEN
@ANNOUNCE
@BOOTSTRAP
@click.option("--cpus", type=Parsed(checked(parse_cpu_millis), "COUNT"), help="[all]")
@click.option(
    "--memory", type=Parsed(checked(parse_size_bytes), "SIZE"), help="[3/4 of it]"
)
@click.option(
    "--disk", type=Parsed(checked(parse_size_bytes), "SIZE"), help="[1/2 of the free]"
)
@click.option(
    "--store",
    type=Parsed(checked(parse_size_bytes), "SIZE"),
    help="Room for copies of others' results. [0]",
)
@click.option(
    "--price",
    type=Parsed(checked(parse_price_micro_ntx), "NTX"),
    help="NTX for a CPU-hour. [0]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A TOML file with these settings; options override it.",
)
@click.option(
    "--admission",
    type=click.Choice(["open", "allow", "capability"]),
    help="Whose jobs to run. [open]",
)
@click.option(
    "--allow",
    multiple=True,
    type=Parsed(checked(parse_did), "DID"),
    help="An owner whose jobs to run under `allow`. Repeatable.",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    type=Parsed(checked(parse_did), "DID"),
    help="Whose delegations admit owners under `capability`. Repeatable.",
)
@click.option("--no-provide", is_flag=True, help="Run no jobs of others.")
@click.option("--no-gpus", is_flag=True, help="Offer none of this machine's GPUs.")
@click.option(
    "--bulk-port",
    type=Whole(0, 65_535),
    help="Where large results are fetched, if not by libp2p's streams. [any]",
)
@click.option("--no-bulk", is_flag=True, help="Serve results by libp2p's streams only.")
@click.option("--bitswap", is_flag=True, help="Serve public results to IPFS nodes.")
@click.option(
    "--did-web", is_flag=True, help="Take owners by did:web, asking their web servers."
)
@click.option("--no-mdns", is_flag=True, help="Do not look around the local network.")
@click.pass_obj
def up_command(settings: Settings, /, **given: Any) -> None:
    """Run a node: offer this machine to the network until told to stop.

    SIGTERM and Ctrl-C drain it: no new work, and running jobs get some time.
    """
    config = _config(**given)
    home = open_home(settings.home)
    with unhindered(as_json=settings.json):
        trio.run(_up, settings, home, config)


@click.command("nodes", epilog="Next: nunet-node submit SCRIPT.py")
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def nodes_command(
    settings: Settings, bootstrap: tuple[str, ...], identity: str
) -> None:
    """Show who is on the network, and how much room each node has."""
    home = open_home(settings.home)
    ensure_identity(settings, home, identity)

    async def run() -> list[dict[str, Any]]:
        async with open_client(home, bootstrap=bootstrap, identity=identity) as client:
            found = await client.nodes()
            if client.clock_doubted:
                settings.note(CLOCK_DOUBTED)
            return found

    nodes = trio.run(run)
    settings.document(nodes)
    if not settings.json:
        head = ("NODE", "ENGINES", "FREE", "OF", "QUEUED", "PRICE", "SEEN")
        settings.say(table(head, map(_row, nodes)))
    settings.note("next: nunet-node submit SCRIPT.py")


def _config(
    *,
    config_file: Path | None,
    no_provide: bool,
    no_gpus: bool,
    no_bulk: bool,
    no_mdns: bool,
    **given: Any,
) -> Config:
    """Lay the options over the file."""
    config = read_config(config_file) if config_file else Config()
    changes = {
        name: said for name, said in given.items() if said not in (None, (), False)
    }
    if no_provide:
        changes["provide"] = False
    if no_gpus:
        changes["gpus"] = False
    if no_bulk:
        changes["bulk"] = False
    if no_mdns:
        changes["mdns"] = False
    config = msgspec.structs.replace(config, **changes)
    check_admission(config, "the options")
    return config


def _backend(config: Config) -> Callable[[Path, Did], Executors] | None:
    """Return what makes the executors of a cluster; None for this machine."""
    if config.backend == "local":
        return None
    # Imported here: few nodes have a cluster, and loading this takes its time.
    from nunet_node.runtime.work.clustered import (  # noqa: PLC0415
        cluster_executors,
    )

    return partial(cluster_executors, config)


def _peer_settings(home: Home, config: Config) -> PeerSettings:
    provide = Provide(
        offer=config.offer,
        price_micro_ntx=config.price_micro_ntx,
        devices=usable_devices if config.gpus else tuple,
        domains=config.domains,
    )
    return PeerSettings(
        home=home,
        key=home.node_key(),
        users={each.did: each.key for each in home.identities()},
        listen=config.listen,
        announce=config.announce,
        bootstrap=config.bootstrap,
        is_node=True,
        provide=provide if config.provide else None,
        gossip=True,
        bitswap=config.bitswap,
        bulk_port=config.bulk_port if config.bulk else None,
        mdns=config.mdns,
        drain_s=config.drain_s,
        admission=config.admitted,
        web=web_fetch() if config.did_web else None,
        store_bytes=config.store_bytes,
        backend=_backend(config),
    )


async def _up(settings: Settings, home: Home, config: Config) -> None:
    begun: list[trio.MemoryReceiveChannel[News]] = []

    def listen(peer: Peer) -> None:
        begun.append(peer.subscribe())

    with trio.open_signal_receiver(*_STOP) as signals:
        async with open_peer(_peer_settings(home, config), prepare=listen) as peer:
            _say_ready(settings, peer)
            _settle()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tell, settings, peer, begun[0])
                await anext(signals)
                settings.document({"event": "draining"})
                settings.note("draining; once more to stop at once")
                nursery.start_soon(_cancel_at, signals, nursery.cancel_scope)
                await peer.drain()
                nursery.cancel_scope.cancel()
    settings.document({"event": "stopped"})
    settings.note("stopped")


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


def _settle() -> None:
    """Spare what is here for good: whoever collects garbage would go through it all."""
    # Loading left some garbage, and spared it with all the rest.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _say_ready(settings: Settings, peer: Peer) -> None:
    addresses = peer.addresses()
    settings.document(
        {
            "event": "ready",
            "did": peer.did,
            "peer_id": peer.peer_id,
            "addresses": list(addresses),
        }
    )
    if not settings.json:
        settings.say(f"ready: {peer.did}")
        for address in addresses:
            settings.say(f"  {address}")
    where = f" --bootstrap {addresses[0]}" if addresses else ""
    settings.note(f"next, elsewhere: nunet-node submit{where} SCRIPT.py")


async def _tell(
    settings: Settings, peer: Peer, news: trio.MemoryReceiveChannel[News]
) -> None:
    async for each in news:
        document = _event(peer, each)
        if document is not None:
            settings.document(document)
            if not settings.json:
                settings.say(_line(document))


def _event(peer: Peer, news: News) -> dict[str, Any] | None:
    """Return the document for what happened, if anybody wants to know it."""
    match news:
        case JobMovedHere() | ReplicaMoved():
            return _kept_here(news)
        case ProviderHeard():
            return _heard(peer, news)
        case OrderChanged(notice=notice) if notice is not None:
            return {
                "event": "notice",
                "job": notice.job,
                "state": str(notice.state),
                "reason": notice.reason,
                "exit_code": notice.exit_code,
            }
        case ClockDoubted() | DiskChanged() | ProviderUnreachable():
            return {"event": "warning", "message": _warning(news)}
        case _:
            return None


def _warning(news: ClockDoubted | DiskChanged | ProviderUnreachable) -> str | None:
    match news:
        case ClockDoubted():
            return CLOCK_DOUBTED
        case DiskChanged(full=full):
            return _DISK_FULL if full else _DISK_ROOM
        case ProviderUnreachable():
            return line_of(news)


def _kept_here(news: JobMovedHere | ReplicaMoved) -> dict[str, Any]:
    if isinstance(news, ReplicaMoved):
        return {
            "event": "log-replica" if news.logs else "replica",
            "job": news.job,
            "holder": news.holder,
            "state": "placed" if news.placed else "lost",
            "reason": news.reason,
        }
    return {
        "event": "job",
        "job": news.job,
        "owner": news.owner,
        "attempt": news.attempt,
        "state": news.state,
        "reason": news.reason,
    }


def _heard(peer: Peer, news: ProviderHeard) -> dict[str, Any] | None:
    now_s = peer.driver.clock.now().unix_s
    heard = peer.adverts.of_provider(Did(news.provider), now_s)
    if heard is None:
        return None
    return {"event": "peer", **node_documents([heard], now_s)[0]}


def _line(document: Mapping[str, Any]) -> str:
    match document["event"]:
        case "job":
            text = f"job {document['job']} of {short(document['owner'])}"
        case "replica" | "log-replica" as what:
            which = "copy of" if what == "replica" else "copy of the logs of"
            text = f"{which} {document['job']} at {short(document['holder'])}"
        case "notice":
            text = f"notice of {document['job']}"
        case "peer":
            text = f"heard {short(document['did'])}: free {_room(document['free'])}"
        case _:
            text = str(document.get("message"))
    why = f" ({document['reason']})" if document.get("reason") else ""
    return visible(f"{text}: {document['state']}{why}" if "state" in document else text)


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        short(node["did"]),
        ",".join(node["engines"]) or "none",
        _room(node["free"]),
        _room(node["total"]),
        str(node["queued"]),
        f"{node['price']}",
        f"{node['seen_s']} s ago",
    )


def _room(amount: Mapping[str, Any]) -> str:
    words = (
        f"{cpu_text(amount['cpu_millis'])} CPU",
        size_text(amount["memory_bytes"]),
        f"{size_text(amount['disk_bytes'])} disk",
        *(visible(str(msgspec.convert(kind, Gpus))) for kind in amount.get("gpus", ())),
    )
    return ", ".join(words)
