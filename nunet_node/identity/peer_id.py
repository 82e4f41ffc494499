"""A node's libp2p peer id and its DID are one key in two spellings.

The peer id of an Ed25519 key is the base58 of an identity multihash over the key's
protobuf (libp2p peer-ids specification), so either name gives the other without
asking anybody.
"""

import re
from functools import lru_cache
from typing import Final

import base58

from nunet_node.identity.did import (
    KEYS_CACHED_MAX,
    Did,
    did_of_ed25519,
    ed25519_of,
)
from nunet_node.identity.errors import PeerIdError

_PREFIX: Final = bytes.fromhex("002408011220")
_PEER_ID: Final = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}")


@lru_cache(maxsize=KEYS_CACHED_MAX)
def peer_id_of(did: Did) -> str:
    """Return the peer id of the node with this DID.

    Raises:
        IdentityError: not the DID of an Ed25519 key.
    """
    return str(base58.b58encode(_PREFIX + ed25519_of(did)), "ascii")


@lru_cache(maxsize=KEYS_CACHED_MAX)
def did_of_peer_id(text: str) -> Did:
    """Return the DID of the node with this peer id.

    Raises:
        PeerIdError: not the only spelling of an Ed25519 key's peer id.
        InvalidKeyError: its key is not valid.
    """
    if not _PEER_ID.fullmatch(text):
        raise PeerIdError("not the peer id of an Ed25519 key (12D3KooW…)")
    data = base58.b58decode(text)
    did = did_of_ed25519(data[len(_PREFIX) :])
    if not data.startswith(_PREFIX) or peer_id_of(did) != text:
        raise PeerIdError("not the only spelling of this peer id")
    return did
