"""An identity as a file's text: a name, a DID, and its key or who signs for it.

The key stands there as a seed, as a seed under a passphrase, or not at all: then a
command is named that signs, so that the key of a hardware or browser wallet never
enters our process. Whoever signs as a did:web has the did:key of its key there too.

Rule: the text is read whole and strictly, and the DID must be the seed's own, so a
damaged or edited file is refused rather than becoming somebody else. Where files
live and who may read them is decided elsewhere.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from nunet_node.identity.did import Did, DidDocument, is_web, parse_did, resolve
from nunet_node.identity.errors import IdentityError, LockedError, WalletError
from nunet_node.identity.keys import (
    SECRET_KEYS,
    SEED_BYTES,
    SecretKey,
    Signer,
    WebSigningKey,
)
from nunet_node.identity.methods.did_web import document_under
from nunet_node.identity.safe.sealing import Sealed, open_seed, seal_seed

WALLET_VERSION: Final = 1
"""The only form of identity file so far."""

WALLET_CHARS_MAX: Final = 4_096
"""Longest identity file that is read; real ones have about 250 characters."""

SIGNER_WORDS_MAX: Final = 16
"""Words of a command that signs."""

_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
_ED25519: Final = "Ed25519"

Curve = Literal["Ed25519", "P-256", "secp256k1"]
Word = Annotated[str, msgspec.Meta(max_length=1024)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody's name for a DID, and who signs for it; a seed is never shown."""

    name: str
    key: Signer = field(repr=False)

    @property
    def did(self) -> Did:
        """The identity's DID."""
        return self.key.did


class Wallet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity's file, read; its DID is the seed's only once that was opened."""

    version: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=_NAME_PATTERN)]
    did: str
    key_did: str | None = None
    """The did:key of the key, of an identity that is a did:web."""
    curve: Curve = "Ed25519"
    seed: str | None = None
    sealed: Sealed | None = None
    signer: Annotated[tuple[Word, ...], msgspec.Meta(max_length=SIGNER_WORDS_MAX)] = ()

    def __repr__(self) -> str:
        return f"Wallet({self.name}, {self.did})"


def encode_identity(identity: Identity) -> str:
    """Return an identity as the text of its file; it holds the secret.

    Raises:
        WalletError: the name cannot be a file's name, or the key is not here.
    """
    key = _secret(identity)
    return _text(identity, seed=base64.b64encode(key.seed).decode(), **_curve(key))


def encode_sealed(
    identity: Identity, passphrase: str, *, salt: bytes, nonce: bytes
) -> str:
    """Return an identity as the text of its file, its seed under a passphrase.

    Raises:
        WalletError: as `encode_identity`.
    """
    key = _secret(identity)
    sealed = seal_seed(key.seed, passphrase, salt=salt, nonce=nonce)
    return _text(identity, sealed=msgspec.to_builtins(sealed), **_curve(key))


def encode_external(
    name: str, did: Did, command: Sequence[str], key_did: Did | None = None
) -> str:
    """Return the file of an identity whose key is elsewhere.

    Args:
        name: the identity's name.
        did: whose signatures the command makes.
        command: a program, and its arguments.
        key_did: the did:key of its key, if the identity is a did:web.

    Raises:
        WalletError: the name cannot be a file's name, or there is no command.
    """
    if not command:
        raise WalletError("an identity without a key needs a command that signs")
    wallet = {"version": WALLET_VERSION, "name": name, "did": did}
    if key_did is not None:
        wallet["key_did"] = key_did
    return _dumped({**wallet, "signer": list(command)})


def read_wallet(text: str) -> Wallet:
    """Read the text of an identity file; errors never quote it.

    Raises:
        WalletError: not an identity, damaged, or of a later form.
    """
    if len(text) > WALLET_CHARS_MAX:
        raise WalletError("the identity file is too long to be one")
    try:
        plain = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise WalletError("the identity file is not JSON") from None
    wallet = _converted(plain)
    try:
        did = parse_did(wallet.did)
        key_did = did if wallet.key_did is None else parse_did(wallet.key_did)
    except IdentityError:
        raise WalletError("the identity file's DID is none") from None
    if is_web(key_did) or (wallet.key_did is not None) != is_web(did):
        raise WalletError("an identity that is a did:web names the DID of its key")
    held = [bool(each) for each in (wallet.seed, wallet.sealed, wallet.signer)]
    if held.count(True) != 1:
        raise WalletError("the identity file holds one of seed, sealed and signer")
    return wallet


def open_wallet(wallet: Wallet, passphrase: str | None = None) -> Identity:
    """Return the identity in a file that holds its key.

    Raises:
        LockedError: the key is under a passphrase, and none was given.
        WalletError: the passphrase is not the one, the seed is damaged or another
            DID's, or the key is elsewhere.
    """
    if wallet.signer:
        raise WalletError("the identity's key is elsewhere")
    if wallet.sealed is not None:
        if passphrase is None:
            raise LockedError("the identity is locked by a passphrase")
        seed = open_seed(wallet.sealed, passphrase)
    else:
        seed = _seed(wallet.seed or "")
    try:
        key = SECRET_KEYS[wallet.curve](seed)
    except IdentityError:
        raise WalletError("the identity file's seed is damaged") from None
    if key.did != (wallet.key_did or wallet.did):
        raise WalletError("the identity file's DID is not its seed's")
    if wallet.key_did is not None:
        if wallet.curve != _ED25519:
            raise WalletError(f"a did:web signs here with a key of kind {_ED25519}")
        key = WebSigningKey(seed, Did(wallet.did))
    return Identity(name=wallet.name, key=key)


def document_of(wallet: Wallet) -> DidDocument:
    """Return what an identity's DID says, or would have to say, by its file alone.

    Raises:
        IdentityError: its DID carries no document, such as a short did:peer:4.
    """
    if wallet.key_did is None:
        return resolve(Did(wallet.did))
    return document_under(Did(wallet.did), resolve(Did(wallet.key_did)))


def decode_identity(text: str, passphrase: str | None = None) -> Identity:
    """Read an identity file that holds its key; raises as the two steps of it do."""
    return open_wallet(read_wallet(text), passphrase)


def _secret(identity: Identity) -> SecretKey:
    if not isinstance(identity.key, SecretKey):
        raise WalletError("the identity's key is elsewhere, and cannot be written")
    return identity.key


def _curve(key: SecretKey) -> dict[str, str]:
    return {} if key.curve == _ED25519 else {"curve": key.curve}


def _text(identity: Identity, **secret: Any) -> str:
    wallet = {"version": WALLET_VERSION, "name": identity.name, "did": identity.did}
    if isinstance(identity.key, WebSigningKey):
        wallet["key_did"] = identity.key.key_did
    return _dumped({**wallet, **secret})


def _dumped(wallet: dict[str, Any]) -> str:
    _converted(wallet)
    return json.dumps(wallet, indent=2) + "\n"


def _converted(plain: Any) -> Wallet:
    if isinstance(plain, dict) and plain.get("version") != WALLET_VERSION:
        raise WalletError(f"the identity file is not of version {WALLET_VERSION}")
    try:
        return msgspec.convert(plain, Wallet)
    except msgspec.ValidationError as error:
        raise WalletError(f"the identity file is not complete: {error}") from None


def _seed(text: str) -> bytes:
    try:
        seed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WalletError("the identity file's seed is damaged") from None
    if len(seed) != SEED_BYTES or base64.b64encode(seed).decode() != text:
        raise WalletError("the identity file's seed is damaged")
    return seed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError("a name stands twice")
    return plain
