"""An identity as a file's text: a name, a DID and the seed of its key.

Rule: the text is read whole and strictly, and the DID must be the seed's own, so a
damaged or edited file is refused rather than becoming somebody else. Where files
live and who may read them is decided elsewhere.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from nunet_node.identity.did import Did
from nunet_node.identity.errors import WalletError
from nunet_node.identity.keys import SEED_BYTES, SigningKey

WALLET_VERSION: Final = 1
"""The only form of identity file so far."""

WALLET_CHARS_MAX: Final = 4_096
"""Longest identity file that is read; real ones have about 250 characters."""

_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody's name for a DID, and the key behind it; the seed is never shown."""

    name: str
    key: SigningKey = field(repr=False)

    @property
    def did(self) -> Did:
        """The identity's DID."""
        return self.key.did


class _Wallet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=_NAME_PATTERN)]
    did: str
    seed: str


def encode_identity(identity: Identity) -> str:
    """Return an identity as the text of its file; it holds the secret.

    Raises:
        WalletError: the name cannot be a file's name.
    """
    wallet = {
        "version": WALLET_VERSION,
        "name": identity.name,
        "did": identity.did,
        "seed": base64.b64encode(identity.key.seed).decode(),
    }
    _converted(wallet)
    return json.dumps(wallet, indent=2) + "\n"


def decode_identity(text: str) -> Identity:
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
    key = SigningKey(_seed(wallet.seed))
    if key.did != wallet.did:
        raise WalletError("the identity file's DID is not its seed's")
    return Identity(name=wallet.name, key=key)


def _converted(plain: Any) -> _Wallet:
    if isinstance(plain, dict) and plain.get("version") != WALLET_VERSION:
        raise WalletError(f"the identity file is not of version {WALLET_VERSION}")
    try:
        return msgspec.convert(plain, _Wallet)
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
