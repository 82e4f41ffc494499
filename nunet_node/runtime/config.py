"""The configuration file of a node: TOML, strict, every value with its unit.

Rule: a key that is not known is refused with the nearest right name, because a
misspelt limit that is silently ignored is a limit that does not hold. What stands on
the command line overrides the file.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from nunet_node.domains import ANY, LENT_MAX, parse_rules
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, is_web, parse_did
from nunet_node.jobs.job_file.gpu import parse_gpu
from nunet_node.network.discovery import parse_announced_address
from nunet_node.protocol.trust.admission import ADMISSION_DIDS_MAX, Admission, Mode
from nunet_node.quantities import (
    KINDS_MAX,
    Gpus,
    ResourceVector,
    parse_cpu_millis,
    parse_duration_s,
    parse_price_micro_ntx,
    parse_size_bytes,
)

CONFIG_BYTES_MAX: Final = 1 << 20
"""Largest configuration file; real ones have a page."""

BOOTSTRAP_MAX: Final = 64
"""Peers to stay connected with; a node finds the rest by itself."""

PORT_MAX: Final = 65_535
"""The last port there is (RFC 9293)."""

Addresses = Annotated[tuple[str, ...], msgspec.Meta(max_length=BOOTSTRAP_MAX)]

RUNNER_WORDS_MAX: Final = 32
"""Words of the command of a runner: an interpreter, a module and a few options."""

Words = Annotated[tuple[str, ...], msgspec.Meta(max_length=RUNNER_WORDS_MAX)]

Described = Annotated[dict[str, str], msgspec.Meta(max_length=KINDS_MAX)]

Domains = Annotated[tuple[str, ...], msgspec.Meta(max_length=LENT_MAX)]

Dids = Annotated[tuple[str, ...], msgspec.Meta(max_length=ADMISSION_DIDS_MAX)]

_AMOUNTS: Final[Mapping[str, Callable[[Any], int]]] = {
    "cpus": parse_cpu_millis,
    "memory": parse_size_bytes,
    "disk": parse_size_bytes,
    "store": parse_size_bytes,
    "price": parse_price_micro_ntx,
    "drain": parse_duration_s,
}


_CLUSTER_KEYS: Final = {
    "address": "ray",
    "token_file": "ray",
    "partition": "slurm",
    "account": "slurm",
}
"""Keys under ``cluster`` that only one backend has a use for."""


class ConfigError(PeerError):
    """The configuration file cannot be used; names the key."""

    code: ClassVar[str] = "config.invalid"


class ClusterConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What may stand under ``cluster``: where jobs go when not to this machine."""

    listen: str = "127.0.0.1:0"
    """Where the machines of the cluster reach this one, as ``address:port``; port 0 is
    one that is free. Loopback serves a cluster that is this machine alone."""
    address: str = ""
    """Of the cluster's HTTP interface, such as ``http://10.0.0.5:8265`` (Ray)."""
    token_file: str = ""
    """A file whose content admits to that interface, where it asks for it (Ray)."""
    partition: str = ""
    """Where jobs are queued; the cluster's default when empty (Slurm)."""
    account: str = ""
    """Whom the cluster charges (Slurm)."""
    runner: Words = ()
    """The command that starts our runner on a machine of the cluster; this very
    environment when empty, which then has to be there too."""
    pending: int | str = "15m"
    """How long a job may wait for a machine before it counts as lost."""
    poll: int | str = "15s"
    """How often the cluster is asked what it has."""
    gpus: Described = {}
    """What its GPUs are, by what it calls each type, as in
    ``a100 = "vendor=nvidia,model=A100,vram=40GiB"``; "" is those without a type."""

    @property
    def gpu_kinds(self) -> dict[str, Gpus]:
        """The kinds of GPU that are described.

        Raises:
            PeerError: a description is none.
        """
        kinds = {label: parse_gpu(text) for label, text in self.gpus.items()}
        for label, kind in kinds.items():
            if kind.count > 1 or kind.vendor not in ("", "nvidia"):
                raise ConfigError(f"gpus: {label!r} is to be one GPU of nvidia")
        return kinds

    @property
    def meets_at(self) -> tuple[str, int]:
        """Address and port where runners dial.

        Raises:
            ConfigError: it is not an address that can be dialled.
        """
        host, _, port = self.listen.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            address = None
        known = port.isdigit() and int(port) <= PORT_MAX
        if address is None or address.is_unspecified or not known:
            raise ConfigError(
                f"listen: {self.listen!r} is not the address and port that machines "
                "of the cluster dial, such as 10.0.0.5:4050"
            )
        return str(address), int(port)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand in the file; most keys are options of `nunet-node up` too."""

    listen: Addresses = ("/ip4/0.0.0.0/tcp/4040",)
    """Where to accept connections. The port is fixed, so that others can find the
    node again after a restart."""
    announce: Addresses = ()
    """Where others are told to dial, each as ``/ip4/…/tcp/…``, when that is not where
    the node listens: behind a forwarded port, or a proxy."""
    bootstrap: Addresses = ()
    """Peers to join the network by, each as ``/ip4/…/tcp/…/p2p/…``."""
    provide: bool = True
    """Whether to run other people's jobs."""
    cpus: int | float | str | None = None
    """Processors to offer, such as 2 or 1.5; all there are when absent."""
    memory: int | str | None = None
    """Memory to offer, such as ``8GiB``; three quarters of it when absent."""
    disk: int | str | None = None
    """Disk to offer, such as ``50GiB``; half of what is free when absent."""
    store: int | str = 0
    """Room for copies of others' results, such as ``10GiB``; none when absent."""
    price: int | float | str = 0
    """Price of one CPU-hour in NTX, such as ``0.25``; work is free when absent."""
    http: Domains | Literal["any"] = ()
    """Domains that jobs may reach from this machine's address, over HTTP alone; ``any``
    is every one that is public. Whoever lends it answers for what is fetched."""
    gpus: bool = True
    """Whether to offer the graphics processors that are there."""
    bulk: bool = True
    """Whether peers may fetch large results by connections of their own, beside
    libp2p's; without, they come by libp2p's streams."""
    bulk_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """The port of those connections; 0 is any that is free."""
    bitswap: bool = False
    """Whether any IPFS node may fetch public results, by Bitswap."""
    mdns: bool = True
    """Whether to look for peers on the local network, when listening beyond this
    machine."""
    admission: Literal["open", "allow", "capability"] = "open"
    """Whose jobs to run: anybody's, those of `allow`, or those of owners to whom a
    delegation leads from one of `anchors`."""
    allow: Dids = ()
    """DIDs of the owners whose jobs are run under ``allow``."""
    anchors: Dids = ()
    """DIDs whose delegations admit owners under ``capability``."""
    did_web: bool = False
    """Whether owners may be ``did:web``: the node then asks the web servers that
    requests name for their documents."""
    drain: int | str = "60s"
    """How long running jobs may still take when the node is asked to stop."""
    backend: Literal["local", "ray", "slurm"] = "local"
    """Where jobs run: on this machine, or on a cluster, which `cluster` describes."""
    cluster: ClusterConfig = ClusterConfig()

    def offer(self, detected: ResourceVector) -> ResourceVector:
        """Return what the owner offers, where it says so, of what the machine has.

        Raises:
            QuantityError: an amount is not one.
        """
        asked = {
            "cpu_millis": None if self.cpus is None else parse_cpu_millis(self.cpus),
            "memory_bytes": _size(self.memory),
            "disk_bytes": _size(self.disk),
        }
        changes = {name: value for name, value in asked.items() if value is not None}
        there = detected if self.gpus else detected.with_gpus(())
        return msgspec.structs.replace(there, **changes)

    @property
    def domains(self) -> tuple[str, ...]:
        """The rules for what jobs may reach."""
        return (ANY,) if self.http == "any" else tuple(self.http)

    @property
    def store_bytes(self) -> int:
        """The room for copies of others' results.

        Raises:
            QuantityError: it is not an amount.
        """
        return parse_size_bytes(self.store)

    @property
    def price_micro_ntx(self) -> int:
        """The price of one CPU-hour in millionths of an NTX.

        Raises:
            QuantityError: it is not an amount.
        """
        return parse_price_micro_ntx(self.price)

    @property
    def admitted(self) -> Admission:
        """Whose jobs are run."""
        return Admission(
            mode=Mode(self.admission),
            allow=frozenset(map(Did, self.allow)),
            anchors=frozenset(map(Did, self.anchors)),
        )

    @property
    def drain_s(self) -> int:
        """The grace of running jobs, in seconds.

        Raises:
            QuantityError: it is not a duration.
        """
        return parse_duration_s(self.drain)


def read_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a wrong key or value.
    """
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX).decode()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text") from None
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return parse_config(plain, str(path))


def parse_config(plain: dict[str, Any], source: str) -> Config:
    """Check the keys and values of a configuration.

    Args:
        plain: the mapping as it was read.
        source: what to call it in errors.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    _check_keys(plain, Config, source)
    if isinstance(plain.get("cluster"), dict):
        _check_keys(plain["cluster"], ClusterConfig, f"{source}: cluster")
    for key, parse in _AMOUNTS.items():
        try:
            parse(plain.get(key, 0))
        except PeerError as error:
            raise ConfigError(f"{source}: {key}: {error}") from None
    try:
        config = msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from None
    _check_announced(config, source)
    _check_lent(config, source)
    check_admission(config, source)
    check_cluster(config, source)
    return config


def check_admission(config: Config, source: str) -> None:
    """Check that a configuration's words on admission fit each other.

    Raises:
        ConfigError: a DID is none, or nobody could ever be admitted.
    """
    for key in ("allow", "anchors"):
        _check_dids(config, key, source)
    if config.admission == "allow" and not config.allow:
        raise ConfigError(f"{source}: admission allow needs allow, a list of DIDs")
    if config.admission == "capability" and not config.anchors:
        raise ConfigError(
            f"{source}: admission capability needs anchors, DIDs to trust"
        )
    if config.allow and config.admission != "allow":
        raise ConfigError(f"{source}: allow has no effect but under admission allow")
    if config.anchors and config.admission != "capability":
        raise ConfigError(
            f"{source}: anchors have no effect but under admission capability"
        )


def _check_dids(config: Config, key: str, source: str) -> None:
    for text in getattr(config, key):
        try:
            did = parse_did(text)
        except PeerError as error:
            raise ConfigError(f"{source}: {key}: {error}") from None
        if is_web(did) and not config.did_web:
            raise ConfigError(f"{source}: {key}: {did} needs did_web = true")


def _check_announced(config: Config, source: str) -> None:
    for text in config.announce:
        try:
            parse_announced_address(text)
        except PeerError as error:
            raise ConfigError(f"{source}: announce: {error}") from None


def _check_lent(config: Config, source: str) -> None:
    if not config.http:
        return
    if config.backend != "local":
        raise ConfigError(
            f"{source}: http has no effect under backend {config.backend}, whose "
            "machines let jobs reach nothing"
        )
    try:
        if config.http != "any":
            parse_rules(config.http, LENT_MAX)
    except PeerError as error:
        raise ConfigError(f"{source}: http: {error}") from None


def check_cluster(config: Config, source: str) -> None:
    """Check that what is said of a cluster fits the backend.

    Raises:
        ConfigError: a value is wrong, missing, or has no effect.
    """
    cluster, backend = config.cluster, config.backend
    try:
        parse_duration_s(cluster.pending)
        polled_s = parse_duration_s(cluster.poll)
        _ = cluster.meets_at, cluster.gpu_kinds
    except PeerError as error:
        raise ConfigError(f"{source}: cluster: {error}") from None
    if polled_s < 1:
        raise ConfigError(f"{source}: cluster: poll has to be a second or more")
    if backend == "local" and cluster != ClusterConfig():
        raise ConfigError(f"{source}: cluster has no effect under backend local")
    for key, wanted in _CLUSTER_KEYS.items():
        if backend != "local" and getattr(cluster, key) and backend != wanted:
            raise ConfigError(
                f"{source}: cluster: {key} has no effect under backend {backend}"
            )
    if backend == "ray" and not cluster.address.startswith(("http://", "https://")):
        raise ConfigError(
            f"{source}: cluster: backend ray needs address, that of its dashboard, "
            "such as http://127.0.0.1:8265"
        )


def _check_keys(plain: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in plain:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            )
            raise ConfigError(f"{where}: no key is called {key!r}; {hint}")


def _size(text: int | str | None) -> int | None:
    return None if text is None else parse_size_bytes(text)
