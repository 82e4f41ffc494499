"""``--web``: asking web servers for the documents of those who signed a token.

Rule: nobody is asked unless the user said so, because the server then knows of us;
and an identity of this home needs no server to say whose key it is.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import click
import trio

from nunet_node.capability.delegation import issuer_of_delegation
from nunet_node.capability.held.parcel import read_links
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, DidDocument, Documents, is_web
from nunet_node.network.did_web import fetch_document
from nunet_node.runtime.home import Home

WEB: Final = click.option(
    "--web", is_flag=True, help="Ask the server of a did:web, which then knows of us."
)


def documents_of_token(home: Home, text: str, *, web: bool) -> Documents:
    """Return the documents without which a token's links cannot be verified.

    Raises:
        PeerError: the text is no token, or a server does not give a document.
    """
    issuers = []
    for link in read_links(text):
        # What is wrong with a link is for those to say who read it.
        with suppress(PeerError):
            issuers.append(issuer_of_delegation(link))
    return documents_of(home, issuers, web=web)


def documents_of(home: Home, dids: Iterable[Did], *, web: bool) -> Documents:
    """Return the documents of those that are did:webs; raises as the one above."""
    wanted = tuple(dict.fromkeys(filter(is_web, dids)))
    own = {home.known_did(name): name for name in home.identity_names()}
    found = {did: home.known_document(own[did]) for did in wanted if did in own}
    others = [did for did in wanted if did not in own]
    if not web:
        why = "its server was not asked; allow that with --web"
        return Documents(found=found, missing=dict.fromkeys(others, why))
    for did in others:
        found[did] = _fetched(did)
    return Documents(found=found)


def _fetched(did: Did) -> DidDocument:
    return trio.run(partial(fetch_document, did))
