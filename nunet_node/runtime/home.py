"""The home directory: the one place where a node or a user keeps anything.

Rule: everything in it is private (directories 0700, files 0600), every file appears
whole or not at all, and a key that exists is never overwritten. Several processes
may use one home at once; what only one may do is guarded by a lock file.

::

    node.key           the key of `nunet-node up` on this home
    identities/*.id    the users' keys, one file a name
    tokens/            delegations that they gave or were given
    ledger.db          what this node promised as a provider
    orders.db          the jobs that this home's users want done
    blocks/            the content-addressed store
    locks/             one lock for each order being driven
    node.json          where a running `up` can be reached; gone when it is not
"""

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from nunet_node.identity.did import Did, DidDocument
from nunet_node.identity.errors import LockedError
from nunet_node.identity.keys import SECRET_KEYS, SEED_BYTES, SigningKey, WebSigningKey
from nunet_node.identity.wallet import Identity, document_of, encode_external
from nunet_node.runtime.wallet.key_files import (
    HomeError,
    read_key,
    read_key_wallet,
    read_small,
    write_key,
    write_text,
)
from nunet_node.runtime.wallet.passphrase import asked_passphrase, given_passphrase
from nunet_node.storage.files import make_directory, why
from nunet_node.storage.files import write_new as write_private

__all__ = [
    "HOME_VARIABLE",
    "NODE_NAME",
    "Home",
    "HomeError",
    "RunningNode",
    "cache_directory",
    "open_home",
]

HOME_VARIABLE: Final = "NUNET_HOME"
"""Environment variable that names the home when no option does."""

NODE_NAME: Final = "node"
"""The name inside the node's own key file."""

_DIRECTORIES: Final = ("identities", "tokens", "blocks", "locks", "scratch")
_OTHERS_WRITE: Final = 0o022


class RunningNode(msgspec.Struct, frozen=True, kw_only=True):
    """Where the `up` that runs on a home can be reached."""

    pid: int
    peer_id: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Home:
    """An existing, private, writable home; `open_home` makes one."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The journal of the provider role."""
        return self.path / "ledger.db"

    @property
    def orders(self) -> Path:
        """The journal of this home's orders."""
        return self.path / "orders.db"

    @property
    def blocks(self) -> Path:
        """The root of the block store."""
        return self.path / "blocks"

    @property
    def kept(self) -> Path:
        """The store of what this home's node keeps for others."""
        return self.path / "kept"

    @property
    def node_lock(self) -> Path:
        """The lock that only one running `up` can hold."""
        return self.path / "node.lock"

    def order_lock(self, job: str) -> Path:
        """Return the lock of whoever drives this order."""
        return self.path / "locks" / f"{job}.lock"

    def node_key(self) -> SigningKey:
        """Return the node's key, making it at the first call.

        Raises:
            HomeError: the file is damaged, readable by others, or cannot be written.
        """
        path = self.path / "node.key"
        if not path.exists():
            key = SigningKey(secrets.token_bytes(SEED_BYTES))
            write_key(path, Identity(name=NODE_NAME, key=key))
        kept = read_key(path).key
        if not isinstance(kept, SigningKey):
            raise HomeError(f"{path} is no node's key; restore it, or move it away")
        return kept

    def identity_path(self, name: str) -> Path:
        """Return the file of the identity with this name; it may not exist."""
        return self.path / "identities" / f"{name}.id"

    def identity_names(self) -> tuple[str, ...]:
        """Return the names of the identities kept here, in alphabetical order."""
        files = (self.path / "identities").glob("*.id")
        return tuple(sorted(path.stem for path in files))

    def identity(self, name: str) -> Identity:
        """Read an identity.

        Raises:
            HomeError: there is none of this name, or its file cannot be trusted.
        """
        return read_key(self._existing(name), asked_passphrase)

    def _existing(self, name: str) -> Path:
        path = self.identity_path(name)
        if not path.exists():
            known = ", ".join(self.identity_names()) or "none"
            raise HomeError(
                f"no identity {name!r} in {path.parent} (there: {known}); "
                f"make it with `nunet-node did create {name}`"
            )
        return path

    def identities(self) -> tuple[Identity, ...]:
        """Read every identity kept here, but for those that are locked.

        Nobody is asked for a passphrase; one in the environment is used.
        """
        found = []
        for name in self.identity_names():
            with contextlib.suppress(LockedError):
                path = self.identity_path(name)
                found.append(read_key(path, lambda _: given_passphrase()))
        return tuple(found)

    def known_did(self, name: str) -> str:
        """Return the DID in an identity's file, which may be locked.

        Raises:
            HomeError: there is none of this name, or its file cannot be trusted.
        """
        return read_key_wallet(self._existing(name)).did

    def known_document(self, name: str) -> DidDocument:
        """Return the document of an identity, which may be locked; asks nobody.

        Raises:
            HomeError: there is none of this name, or its file cannot be trusted.
            IdentityError: its DID carries no document.
        """
        return document_of(read_key_wallet(self._existing(name)))

    def keep_external(
        self, name: str, did: Did, command: Sequence[str], key_did: Did | None = None
    ) -> Path:
        """Write the file of an identity that a program signs for.

        Raises:
            HomeError: the name is taken, or the file cannot be written.
        """
        path = self.identity_path(name)
        write_text(path, encode_external(name, did, command, key_did))
        return path

    def keep_identity(self, identity: Identity, passphrase: str | None = None) -> Path:
        """Write a new identity's file and return its path.

        Args:
            identity: the identity, with its key.
            passphrase: what to seal the key under; it is written plainly without.

        Raises:
            HomeError: the name is taken, or the file cannot be written.
        """
        path = self.identity_path(identity.name)
        write_key(path, identity, passphrase)
        return path

    def new_identity(
        self,
        name: str,
        *,
        curve: str = "Ed25519",
        passphrase: str | None = None,
        web: Did | None = None,
    ) -> Identity:
        """Make an identity with a fresh key; raises as `keep_identity` does.

        Without a passphrase one in the environment is used. With ``web`` it is that
        did:web, whose document has to name the key; its curve is Ed25519.
        """
        seed = secrets.token_bytes(SEED_BYTES)
        key = SECRET_KEYS[curve](seed) if web is None else WebSigningKey(seed, web)
        identity = Identity(name=name, key=key)
        self.keep_identity(identity, passphrase or given_passphrase())
        return identity

    def running_node(self) -> RunningNode | None:
        """Return where this home's `up` can be reached, if one runs.

        A file that a killed node left behind counts as none.
        """
        path = self.path / "node.json"
        try:
            running = msgspec.json.decode(read_small(path), type=RunningNode)
        except (FileNotFoundError, HomeError, msgspec.MsgspecError):
            return None
        return running if _alive(running.pid) else None

    def announce(self, running: RunningNode) -> None:
        """Say where the running `up` can be reached."""
        path = self.path / "node.json"
        fresh = path.with_name(f"node.json.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        write_private(fresh, msgspec.json.encode(running))
        fresh.rename(path)

    def unannounce(self) -> None:
        """Say that no `up` runs here any more."""
        with contextlib.suppress(OSError):
            (self.path / "node.json").unlink()

    def scratch(self) -> Path:
        """Return, and make if need be, the directory in which jobs run.

        For root it lies outside the home: job processes run under other users, and
        those may not enter the home. Whoever uses it holds it, as
        `runtime.work.scratch.held_scratch` does.

        Raises:
            HomeError: the directory is somebody else's.
        """
        path = self._scratch_path()
        return path if path.parent == self.path else _passable(path)

    def _scratch_path(self) -> Path:
        if os.geteuid() != 0:
            return self.path / "scratch"
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        parent = Path("/var/tmp")  # noqa: S108 - what lies there is checked
        if not parent.is_dir():
            parent = Path(tempfile.gettempdir())
        return parent / f"nunet-node-{digest}"


def open_home(
    chosen: Path | None = None, environment: Mapping[str, str] | None = None
) -> Home:
    """Return the home that was chosen, or the usual one, made if need be.

    Args:
        chosen: what the command line says; it wins.
        environment: where `HOME_VARIABLE` may stand; the process's own unless given.

    Raises:
        HomeError: it cannot be made or written, or others can write to it.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(HOME_VARIABLE)
    path = chosen or (Path(named) if named else platformdirs.user_data_path("nunet"))
    try:
        # Where we stand may have been removed.
        path = path.expanduser().absolute()
        _make_private(path)
        _check_private(path)
        for name in _DIRECTORIES:
            make_directory(path / name)
        _check_writable(path)
    except OSError as error:
        inner = f"{error.filename}: " if error.filename not in {None, str(path)} else ""
        raise HomeError(
            f"cannot use {path} as a home: {inner}{why(error)}; "
            f"choose another with --home DIR or {HOME_VARIABLE}"
        ) from None
    return Home(path.resolve())


def cache_directory() -> Path:
    """Return where what is compiled once for each user is kept; it may not exist."""
    return platformdirs.user_cache_path("nunet-node")


def _make_private(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    elif path.is_dir() and path.stat().st_uid == os.geteuid() and _is_empty(path):
        # A directory that a person made for us has the usual loose mode.
        path.chmod(0o700)


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir())


def _check_private(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise HomeError(f"{path} is not a directory; choose another with --home DIR")
    if found.st_mode & _OTHERS_WRITE:
        raise HomeError(
            f"others can write to {path}, so its keys are not safe there; "
            f"run `chmod go-w {path}`"
        )


def _check_writable(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path / "locks"):
        pass


def _passable(path: Path) -> Path:
    """Make a directory that others can pass through but neither list nor write."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o711)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HomeError(f"{path} is somebody else's; remove it and start again")
    path.chmod(0o711)
    return path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
