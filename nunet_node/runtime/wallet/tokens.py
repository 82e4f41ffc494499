"""The delegations of a home, each chain in one file under its newest link's id.

::

    tokens/<content id>.ucan    a chain, given to somebody here or by somebody here
    tokens/<content id>.void    the signed revocation of such a link

Rule: nothing is kept that does not verify, and a file that no longer does is passed
over, so that one damaged token does not stop the rest. What a did:web signed is checked
when it is kept, and from then on by the nodes that it is shown to.
"""

import contextlib
import os
from pathlib import Path
from typing import ClassVar, Final

from nunet_node.capability.delegation import Delegation
from nunet_node.capability.held.holdings import HELD_MAX, Holdings
from nunet_node.capability.held.parcel import PARCEL_CHARS_MAX, pack, read_links, unpack
from nunet_node.capability.revocation import open_revocation
from nunet_node.errors import PeerError
from nunet_node.identity.did import NO_DOCUMENTS, VOUCHED, Documents
from nunet_node.runtime.home import Home
from nunet_node.storage.files import sync_directory, sync_file, why, write_new
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import GOSSIP_BYTES_MAX

_CHAIN: Final = ".ucan"
_VOID: Final = ".void"


class TokenError(PeerError):
    """A token's file that cannot be used; says what to do."""

    code: ClassVar[str] = "token.unusable"


def read_token_text(source: Path) -> str:
    """Return the text of a token's file, unverified.

    Raises:
        TokenError: it cannot be read, or is too long to be a token.
    """
    try:
        with source.open(encoding="ascii") as file:
            text = file.read(PARCEL_CHARS_MAX + 1)
    except OSError as error:
        raise TokenError(f"cannot read {source}: {why(error)}") from None
    except UnicodeDecodeError:
        raise TokenError(f"{source} is not a token") from None
    if len(text) > PARCEL_CHARS_MAX:
        raise TokenError(f"{source} is too long to be a token")
    return text.strip()


def is_token_file(word: str) -> bool:
    """Tell whether a word names a file that holds a token, whole or not."""
    path = Path(word)
    try:
        if not path.is_file():
            return False
        read_links(read_token_text(path))
    except (OSError, ValueError, PeerError):
        return False
    return True


def keep_token(
    home: Home, text: str, documents: Documents = NO_DOCUMENTS
) -> tuple[Delegation, ...]:
    """Keep a chain in the home; return it from its root. Keeping it twice is once.

    Args:
        home: the home.
        text: the chain, as it is passed on.
        documents: what was fetched of issuers that do not carry their own.

    Raises:
        PeerError: it does not verify, the home holds too many, or cannot be written.
    """
    links = read_links(text)
    path = _path(home, Cid.of_dag_cbor(links[-1]), _CHAIN)
    known = path.exists() and read_token_text(path) == pack(links)
    chain = unpack(text, VOUCHED if known else documents)
    path = _path(home, chain[-1].cid, _CHAIN)
    if not path.exists():
        if sum(1 for _ in path.parent.glob(f"*{_CHAIN}")) >= HELD_MAX:
            raise TokenError(f"{path.parent} holds {HELD_MAX} tokens already")
        _write(path, pack([link.data for link in chain]).encode())
    return chain


def keep_void(home: Home, cid: Cid, data: bytes) -> None:
    """Keep the signed revocation of a token.

    Raises:
        TokenError: the home cannot be written.
    """
    path = _path(home, cid, _VOID)
    if not path.exists():
        _write(path, data)


def chains(home: Home) -> tuple[tuple[Delegation, ...], ...]:
    """Return every chain that the home keeps, the oldest first."""
    found = []
    for path in sorted((home.path / "tokens").glob(f"*{_CHAIN}"), key=_age):
        with contextlib.suppress(PeerError):
            found.append(unpack(read_token_text(path), VOUCHED))
    return tuple(found)


def voids(home: Home) -> dict[Cid, bytes]:
    """Return every revocation that the home keeps, by what it voids."""
    found = {}
    for path in sorted((home.path / "tokens").glob(f"*{_VOID}")):
        with contextlib.suppress(PeerError, OSError):
            with path.open("rb") as file:
                data = file.read(GOSSIP_BYTES_MAX + 1)
            found[open_revocation(data, VOUCHED).cid] = data
    return found


def holdings(home: Home) -> Holdings:
    """Return all that the home holds; what was revoked from here is not used."""
    held = Holdings(link for chain in chains(home) for link in chain)
    held.void(voids(home))
    return held


def _path(home: Home, cid: Cid, suffix: str) -> Path:
    return home.path / "tokens" / f"{cid}{suffix}"


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        write_new(fresh, data)
        sync_file(fresh)
        fresh.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise TokenError(f"cannot write {path}: {why(error)}") from None
