"""The files of a home's keys: written whole and privately, read with suspicion.

Rule: a key that exists is never overwritten, a key that others could read is not
used, and an error says what to do and never what stood in the file.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from nunet_node.errors import PeerError
from nunet_node.identity.did import parse_did
from nunet_node.identity.errors import LockedError
from nunet_node.identity.safe.sealing import NONCE_BYTES, SALT_BYTES
from nunet_node.identity.wallet import (
    Identity,
    Wallet,
    encode_identity,
    encode_sealed,
    open_wallet,
    read_wallet,
)
from nunet_node.runtime.wallet.external import ExternalSigner
from nunet_node.runtime.wallet.passphrase import PASSPHRASE_VARIABLE
from nunet_node.storage.files import sync_directory, sync_file, why
from nunet_node.storage.files import write_new as write_private

SMALL_FILE_BYTES_MAX: Final = 65_536
"""Largest key or address file that is read; real ones have a few hundred bytes."""

_OTHERS_ANY: Final = 0o077


class HomeError(PeerError):
    """The home directory, or a file in it, cannot be used; says what to do."""

    code: ClassVar[str] = "home.unusable"


def write_key(path: Path, identity: Identity, passphrase: str | None = None) -> None:
    """Write an identity's file, its key sealed under a passphrase if one is given.

    Raises:
        HomeError: it exists already, or cannot be written.
    """
    if passphrase is None:
        write_text(path, encode_identity(identity))
    else:
        write_text(path, resealed(identity, passphrase))


def resealed(identity: Identity, passphrase: str) -> str:
    """Return the text of an identity's file, its key sealed under a passphrase."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    return encode_sealed(identity, passphrase, salt=salt, nonce=nonce)


def write_text(path: Path, text: str) -> None:
    """Write a file that does not exist yet, whole and durably.

    Raises:
        HomeError: it exists already, or cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_private(fresh, text.encode())
        try:
            sync_file(fresh)
            # A link, unlike a rename, never replaces what is there.
            path.hardlink_to(fresh)
            sync_directory(path.parent)
        finally:
            fresh.unlink()
    except FileExistsError:
        raise HomeError(f"{path} exists already and is not overwritten") from None
    except OSError as error:
        raise HomeError(f"cannot write {path}: {why(error)}") from None


def read_key(
    path: Path, passphrase: Callable[[str], str | None] = lambda _: None
) -> Identity:
    """Read an identity's file, and open its key.

    Args:
        path: the file.
        passphrase: called with whose passphrase is wanted, if one is needed.

    Raises:
        LockedError: it needs a passphrase, and there was none.
        HomeError: others can read it, it is damaged, or the passphrase is not the one.
    """
    wallet = read_key_wallet(path)
    if wallet.signer:
        key_did = None if wallet.key_did is None else parse_did(wallet.key_did)
        key = ExternalSigner(parse_did(wallet.did), wallet.signer, key_did)
        return Identity(name=wallet.name, key=key)
    secret = passphrase(f"identity {wallet.name}") if wallet.sealed else None
    try:
        return open_wallet(wallet, secret)
    except LockedError:
        raise LockedError(
            f"{path} is locked by a passphrase; give it in {PASSPHRASE_VARIABLE}"
        ) from None
    except PeerError as error:
        raise HomeError(
            f"{path} cannot be used: {error}; restore it, or move it away"
        ) from None


def read_key_wallet(path: Path) -> Wallet:
    """Read an identity's file without opening its key.

    Raises:
        HomeError: others can read it, or it is damaged.
    """
    data = read_small(path)
    if path.stat().st_mode & _OTHERS_ANY:
        raise HomeError(f"others can read {path}; run `chmod 600 {path}`")
    try:
        # What is not text at all is refused as what it is then: not JSON.
        return read_wallet(data.decode(errors="replace"))
    except PeerError as error:
        raise HomeError(
            f"{path} cannot be used: {error}; restore it, or move it away"
        ) from None


def read_small(path: Path) -> bytes:
    """Read a small private file.

    Raises:
        FileNotFoundError: there is none.
        HomeError: it cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HomeError(f"cannot read {path}: {why(error)}") from None
    try:
        return os.read(file, SMALL_FILE_BYTES_MAX)
    except OSError as error:
        raise HomeError(f"cannot read {path}: {why(error)}") from None
    finally:
        os.close(file)
