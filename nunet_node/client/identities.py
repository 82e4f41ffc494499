"""Whose keys a client has: the identities of its home, one of which acts.

Rule: what is damaged of one identity stops no other.
"""

from contextlib import suppress
from typing import Any, Final

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.wallet import Identity
from nunet_node.runtime.home import Home

DEFAULT_IDENTITY: Final = "default"


def acting(home: Home, name: str) -> Identity:
    """Return the identity of a home that acts; the default one is made at need."""
    if name == DEFAULT_IDENTITY and not home.identity_path(name).exists():
        return home.new_identity(name)
    return home.identity(name)


def users_of(home: Home, chosen: Identity) -> dict[Did, Any]:
    """Return the key of every identity that can be read, that of who acts first."""
    users: dict[Did, Any] = {chosen.did: chosen.key}
    for name in home.identity_names():
        # Another identity's damaged file must not stop this one.
        with suppress(PeerError):
            other = home.identity(name)
            users.setdefault(other.did, other.key)
    return users
