"""did:web: a DID whose document lies on a web server (did:web method).

Only names and documents are judged here; fetching is for whoever may use a network,
behind a setting, because asking a server tells it who is being asked about. Rule: the
document must be the DID's own, so a server cannot answer for another name.
"""

import re
from typing import Final, NamedTuple

from nunet_node.identity.document import (
    AgreementKey,
    Did,
    DidDocument,
    VerificationKey,
)
from nunet_node.identity.errors import InvalidDidError
from nunet_node.identity.methods.w3c import read_document, read_json

WEB_DID_CHARS_MAX: Final = 512
"""Longest did:web: a host's name of 253 characters and some path."""

PORT_MAX: Final = 65_535
"""The highest port there is."""

HTTPS_PORT: Final = 443
"""Where web servers listen if nothing else is said."""

_METHOD: Final = "did:web:"

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
    host, port, path = found[1], int(found[2] or HTTPS_PORT), found[3]
    # A last label that begins with a digit would make the host an address.
    if not _LAST_LABEL.fullmatch(host.rpartition(".")[2]) or port > PORT_MAX:
        raise InvalidDidError("a did:web names a host, and never an address")
    parts = path.split(":")[1:]
    if any(part.strip(".") == "" for part in parts):
        raise InvalidDidError("the path of a did:web has no dots alone")
    where = "/" + "/".join(parts) if parts else "/.well-known"
    return Place(host=host, port=port, path=f"{where}/did.json")


def document_under(did: Did, of_key: DidDocument) -> DidDocument:
    """Return the document with which a did:web names the keys of another DID its own.

    Keys are named by what follows the ``#`` there, which is the key itself in a
    did:key; so the documents of two keys can be laid together while one follows the
    other.
    """

    def named(key_id: str) -> str:
        return f"{did}#{key_id.partition('#')[2]}"

    return DidDocument(
        did=did,
        keys=tuple(
            VerificationKey(did=did, key_id=named(key.key_id), public=key.public)
            for key in of_key.keys
        ),
        uses={use: tuple(map(named, ids)) for use, ids in of_key.uses.items()},
        agreements=tuple(
            AgreementKey(key_id=named(key.key_id), public_bytes=key.public_bytes)
            for key in of_key.agreements
        ),
    )


def did_of_place(text: str) -> Did:
    """Return the did:web of a host's name, with a path after slashes if it has one.

    A did:web itself is taken as it is.

    Raises:
        InvalidDidError: it names no public host.
    """
    if not text.startswith(_METHOD):
        host, slash, path = text.rstrip("/").partition("/")
        text = _METHOD + host.replace(":", "%3A") + (slash + path).replace("/", ":")
    place_of(text)
    return Did(text)


def url_of(did: Did) -> str:
    """Return where the document of a did:web has to lie.

    Raises:
        InvalidDidError: not a did:web.
    """
    place = place_of(did)
    port = "" if place.port == HTTPS_PORT else f":{place.port}"
    return f"https://{place.host}{port}{place.path}"


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
