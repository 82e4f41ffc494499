"""Links say where a job is and give no authority."""

import pytest

from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.link import (
    LINK_ADDRESSES_MAX,
    LinkError,
    format_link,
    is_link,
    parse_link,
)
from nunet_node.jobs.specification import JobId

OWNER = SigningKey(bytes([1]) * 32).did
CUSTODIAN = SigningKey(bytes([2]) * 32).did
JOB = JobId("abcdefghijklmnopqrstuvwxyz234567")
ADDRESS = (
    "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"
)


def test_a_link_is_read_back_as_it_was_written():
    link = parse_link(
        format_link(JOB, OWNER, CUSTODIAN, [ADDRESS, "/dns4/a.example/tcp/1"])
    )

    assert link.job == JOB
    assert link.owner == OWNER
    assert link.custodian == CUSTODIAN
    assert link.addresses == (ADDRESS, "/dns4/a.example/tcp/1")


def test_the_job_id_stands_in_the_link_verbatim():
    assert format_link(JOB, OWNER, CUSTODIAN).startswith(f"nunet://{JOB}?")


def test_an_address_that_would_need_an_escape_is_left_out():
    assert parse_link(format_link(JOB, OWNER, CUSTODIAN, ["/unix/a&b"])).addresses == ()


def test_no_more_addresses_are_written_than_are_read():
    many = [f"/ip4/192.0.2.{n}/tcp/1" for n in range(LINK_ADDRESSES_MAX + 5)]

    assert len(parse_link(format_link(JOB, OWNER, CUSTODIAN, many)).addresses) == 8


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org",
        "nunet://",
        "nunet://short?owner=a&custodian=b",
        f"nunet://{JOB}",
        f"nunet://{JOB}?owner={OWNER}",
        f"nunet://{JOB}?owner={OWNER}&custodian={CUSTODIAN}&key=1",
        f"nunet://{JOB}?owner={OWNER}&owner={OWNER}&custodian={CUSTODIAN}",
        f"nunet://{JOB}?owner={OWNER}&custodian={CUSTODIAN}&addr=localhost",
        f"nunet://{JOB}?owner={OWNER}&custodian={CUSTODIAN}" + "&addr=/ip4/1.2.3.4" * 9,
        f"nunet://{JOB}?owner={OWNER}&custodian={CUSTODIAN}&addr=/" + "a" * 5000,
    ],
)
def test_a_malformed_link_is_refused(text):
    with pytest.raises(LinkError):
        parse_link(text)


def test_a_link_to_an_owner_without_a_did_is_refused():
    with pytest.raises(PeerError):
        parse_link(f"nunet://{JOB}?owner=alice&custodian={CUSTODIAN}")


def test_only_the_scheme_makes_a_link():
    assert is_link("nunet://whatever")
    assert not is_link(JOB)
