"""A parcel is one chain in one line of text, and nothing else."""

import base64

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.held.parcel import (
    PARCEL_CHARS_MAX,
    in_order,
    pack,
    read_links,
    unpack,
)
from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.wire import cbor

OWNER, TEAM, PERSON, STRANGER = (SigningKey(bytes([i]) * 32) for i in range(1, 5))


def link(giver, taker, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": OWNER.did,
        "command": "/nunet/job",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_delegation(**{**given, **changes})


FIRST, SECOND = link(OWNER, TEAM), link(TEAM, PERSON)


def text_of(plain):
    return "C" + base64.urlsafe_b64encode(cbor.encode(plain)).decode().rstrip("=")


def test_a_chain_survives_its_text():
    chain = unpack(pack([FIRST, SECOND]))
    assert [each.data for each in chain] == [FIRST, SECOND]


def test_white_space_around_the_text_is_no_matter():
    assert read_links(f"  {pack([FIRST])}\n") == (FIRST,)


def test_links_in_another_order_are_put_in_order():
    assert unpack(pack([SECOND, FIRST]))[-1].data == SECOND


def test_links_of_two_chains_are_refused():
    with pytest.raises(PeerError, match="no single chain"):
        unpack(pack([FIRST, link(PERSON, STRANGER)]))


def test_links_in_a_circle_are_put_in_some_order():
    circle = [open_delegation(d) for d in (link(TEAM, PERSON), link(PERSON, TEAM))]
    assert len(in_order(circle)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C",
        "hello",
        "B" + pack([FIRST])[1:],
        pack([FIRST])[:-3],
        pack([FIRST]) + "=",
        pack([FIRST])[:10] + "+" + pack([FIRST])[11:],
        pack([FIRST]).replace("o", "ö"),
        "C" + "A" * PARCEL_CHARS_MAX,
        text_of({"ctn-v1": ()}),
        text_of({"ctn-v1": tuple([FIRST] * 9)}),
        text_of({"ctn-v2": (FIRST,)}),
        text_of({"ctn-v1": (FIRST,), "more": 1}),
        text_of({"ctn-v1": ("text",)}),
    ],
)
def test_what_is_no_parcel_is_refused(text):
    with pytest.raises(PeerError):
        read_links(text)


def test_a_link_that_was_altered_is_refused():
    bad = bytearray(FIRST)
    bad[-1] ^= 1
    with pytest.raises(PeerError):
        unpack(pack([bytes(bad)]))
