"""did:web: a DID whose document lies on a web server (did:web method).

Only names and documents are judged here; fetching is for whoever may use a network,
behind a setting, because asking a server tells it who is being asked about. Rule: the
document must be the DID's own, so a server cannot answer for another name.
"""

import re
from typing import Final, NamedTuple

from nunet_node.identity.document import Did, DidDocument
from nunet_node.identity.errors import InvalidDidError
from nunet_node.identity.methods.w3c import read_document, read_json

WEB_DID_CHARS_MAX: Final = 512
"""Longest did:web: a host's name of 253 characters and some path."""

PORT_MAX: Final = 65_535
"""The highest port there is."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_WEB: Final = re.compile(
    rf"did:web:((?:{_LABEL}\.)+{_LABEL})(?:%3A([1-9][0-9]{{0,4}}))?"
    r"((?::[A-Za-z0-9._~-]+)*)"
)
_LAST_LABEL: Final = re.compile(r"[a-z][a-z0-9-]*")


class Place(NamedTuple):
    """Where a DID's document lies, by HTTPS."""

    host: str
    port: int
    path: str


def place_of(did: str) -> Place:
    """Return where the document of a did:web lies.

    Raises:
        InvalidDidError: not a did:web, or its host is an address or a local name.
    """
    found = _WEB.fullmatch(did) if len(did) <= WEB_DID_CHARS_MAX else None
    if found is None:
        raise InvalidDidError("not a did:web with the name of a public host")
    host, port, path = found[1], int(found[2] or 443), found[3]
    # A last label that begins with a digit would make the host an address.
    if not _LAST_LABEL.fullmatch(host.rpartition(".")[2]) or port > PORT_MAX:
        raise InvalidDidError("a did:web names a host, and never an address")
    parts = path.split(":")[1:]
    if any(part.strip(".") == "" for part in parts):
        raise InvalidDidError("the path of a did:web has no dots alone")
    where = "/" + "/".join(parts) if parts else "/.well-known"
    return Place(host=host, port=port, path=f"{where}/did.json")


def read_web_document(did: Did, data: bytes) -> DidDocument:
    """Read what lay at the place of a did:web.

    Raises:
        InvalidDidError: not the document of this very DID.
        InvalidKeyError: a key is not valid.
    """
    plain = read_json(data)
    if plain.get("id") != did:
        raise InvalidDidError("the document is not this DID's")
    return read_document(did, plain)
