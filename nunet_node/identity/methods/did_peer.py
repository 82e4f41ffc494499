"""did:peer, the forms that carry their own document (did:peer method, 2 and 4).

``did:peer:2`` lists keys, each after the letter of its purpose, and services.
``did:peer:4`` is the hash of a document followed by the document. Both resolve by
themselves. The short form of 4 is a hash alone, and its document is not found here.
"""

import base64
import binascii
import hashlib
import re
from typing import Final

from nunet_node.identity.document import (
    KEYS_MAX,
    AgreementKey,
    Did,
    DidDocument,
    Relationship,
    VerificationKey,
)
from nunet_node.identity.errors import InvalidDidError, MethodNotSupportedError
from nunet_node.identity.methods.multikey import (
    agreement_key,
    decode_multibase,
    encode_multibase,
    signing_key,
)
from nunet_node.identity.methods.w3c import read_document, read_json

PEER_DID_CHARS_MAX: Final = 8_192
"""Longest did:peer that is resolved: a document of a few keys and services."""

_TWO: Final = re.compile(r"did:peer:2((?:\.[AEVID]z[1-9A-HJ-NP-Za-km-z]+|\.S[\w-]+)+)")
_FOUR: Final = re.compile(
    r"did:peer:4(z[1-9A-HJ-NP-Za-km-z]+)(?::(z[1-9A-HJ-NP-Za-km-z]+))?"
)
_PURPOSES: Final = {
    "A": Relationship.ASSERTION_METHOD,
    "E": Relationship.KEY_AGREEMENT,
    "V": Relationship.AUTHENTICATION,
    "I": Relationship.CAPABILITY_INVOCATION,
    "D": Relationship.CAPABILITY_DELEGATION,
}
_SHA256: Final = b"\x12\x20"
_JSON: Final = b"\x80\x04"


def resolve_peer(did: Did) -> DidDocument:
    """Return the document that a did:peer carries.

    Raises:
        InvalidDidError: not a did:peer of form 2 or 4, or another spelling of one.
        InvalidKeyError: a key is not valid.
        UnsupportedKeyError: a key is of another kind than its purpose needs.
        MethodNotSupportedError: another form of did:peer, or a short one.
    """
    if len(did) > PEER_DID_CHARS_MAX:
        raise InvalidDidError(f"a DID has at most {PEER_DID_CHARS_MAX} characters")
    two, four = _TWO.fullmatch(did), _FOUR.fullmatch(did)
    if two is not None:
        return _of_keys(did, two[1])
    if four is not None:
        return _of_document(did, four[1], four[2])
    if did.startswith(("did:peer:2", "did:peer:4")):
        raise InvalidDidError("not a did:peer of form 2 or 4")
    raise MethodNotSupportedError("of did:peer only the forms 2 and 4 are spoken")


def _of_keys(did: Did, elements: str) -> DidDocument:
    keys: list[VerificationKey] = []
    agreements: list[AgreementKey] = []
    uses: dict[Relationship, tuple[str, ...]] = {}
    parts = elements[1:].split(".")
    for part in parts:
        purpose, text = part[0], part[1:]
        if purpose == "S":
            _check_service(text)
            continue
        name = f"{did}#key-{len(keys) + len(agreements) + 1}"
        use = _PURPOSES[purpose]
        if use is Relationship.KEY_AGREEMENT:
            agreements.append(
                AgreementKey(key_id=name, public_bytes=agreement_key(text))
            )
        else:
            public = signing_key(text)
            keys.append(VerificationKey(did=did, key_id=name, public=public))
            uses[use] = (*uses.get(use, ()), name)
    if len(keys) + len(agreements) > KEYS_MAX:
        raise InvalidDidError(f"a DID has at most {KEYS_MAX} keys")
    return DidDocument(
        did=did, keys=tuple(keys), uses=uses, agreements=tuple(agreements)
    )


def _check_service(text: str) -> None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDidError("a service is not base64url") from None
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise InvalidDidError("not the only spelling of a service")
    read_json(data)


def _of_document(did: Did, named: str, encoded: str | None) -> DidDocument:
    if encoded is None:
        raise MethodNotSupportedError("the short form of did:peer:4 names no document")
    digest = hashlib.sha256(encoded.encode()).digest()
    if encode_multibase(_SHA256 + digest) != named:
        raise InvalidDidError("the DID's hash is not its document's")
    data = decode_multibase(encoded)
    if not data.startswith(_JSON):
        raise InvalidDidError("the DID's document is not JSON")
    plain = read_json(data[len(_JSON) :])
    if "id" in plain:
        raise InvalidDidError("the document inside a did:peer:4 has no id")
    return read_document(did, plain, also_known_as=(f"did:peer:4{named}",))
