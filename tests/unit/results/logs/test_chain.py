"""A chain of logs: what was written comes back, and nothing else passes for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.results.errors import LogTamperedError
from nunet_node.results.logs.chain import (
    LogBytes,
    LogChain,
    LogHead,
    key_of,
    new_header,
)

OWNER, OTHER = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
KEY = b"k" * 32
SAID = [
    LogBytes(stdout=b"one"),
    LogBytes(stderr=b"two"),
    LogBytes(stdout=b"three", stderr=b"four"),
    LogBytes(stdout=b"one"),
]


def header(key=KEY, **more):
    given = {"job": "j" * 32, "attempt": 1, "owner": OWNER.did, **more}
    return new_header(**given, key=key, ephemeral_secret=b"e" * 32)


def written(said=SAID, key=KEY):
    chain = LogChain(header=header(key), key=key)
    return [chain.append(each, at_s=7) for each in said], chain.head


def read(records, key=KEY, head=None, made=None):
    chain = LogChain(header=made or header(key), key=key)
    said = [chain.take(record) for record in records]
    if head is not None:
        chain.check_head(head)
    return said


@pytest.mark.parametrize("key", [KEY, None])
def test_what_was_written_is_read(key):
    records, head = written(key=key)

    assert read(records, key, head) == SAID


def test_the_owner_has_the_key_and_nobody_else():
    made = header()

    assert key_of(made, OWNER.key_agreement_secret()) == KEY
    with pytest.raises(PeerError):
        key_of(made, OTHER.key_agreement_secret())


def test_the_key_of_another_job_does_not_open():
    other = header(job="k" * 32)
    moved = type(other)(
        job="j" * 32, attempt=1, owner=OWNER.did, sealed_key=other.sealed_key
    )
    with pytest.raises(PeerError):
        key_of(moved, OWNER.key_agreement_secret())


def test_nothing_of_what_was_written_shows():
    records, _ = written()

    assert not any(word in b"".join(records) for word in (b"three", b"four"))


@given(number=st.integers(0, len(SAID) - 1), data=st.data())
def test_a_changed_byte_shows(number, data):
    records, head = written()
    at = data.draw(st.integers(0, len(records[number]) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(records[number])
    changed[at] ^= 1 << bit
    with pytest.raises(PeerError):
        read([*records[:number], bytes(changed), *records[number + 1 :]], head=head)


@pytest.mark.parametrize(
    "bend",
    [
        lambda records: records[1:],
        lambda records: [records[0], *records[2:]],
        lambda records: [records[1], records[0], *records[2:]],
        lambda records: [records[0], records[0], *records[1:]],
        lambda records: records[:-1],
        lambda records: [*records, records[-1]],
        lambda records: [],
    ],
    ids=["first", "middle", "order", "repeat", "tail", "more", "all"],
)
@pytest.mark.parametrize("key", [KEY, None])
def test_links_left_out_moved_repeated_or_cut_off_show(bend, key):
    records, head = written(key=key)
    with pytest.raises(LogTamperedError):
        read(bend(records), key, head)


def test_a_chain_of_another_attempt_does_not_open():
    records, _ = written()
    with pytest.raises(LogTamperedError):
        read(records, made=header(attempt=2))


def test_a_link_that_lies_about_how_far_it_comes_shows():
    records, _ = written(key=None)
    bent = records[0].replace(b"\x03", b"\x05", 1)
    with pytest.raises(PeerError):
        read([bent], None)


def test_the_order_can_be_followed_without_the_key():
    records, head = written()
    chain = LogChain(header=header())
    ends = [(link.stdout_end, link.stderr_end) for link in map(chain.follow, records)]

    assert ends == [(3, 0), (3, 3), (8, 7), (11, 7)]
    assert chain.head == head
    with pytest.raises(LogTamperedError):
        chain.follow(records[0])


def test_a_chain_that_goes_on_is_the_same_chain():
    records, head = written()
    again = LogChain(header=header(), key=KEY)
    for record in records[:2]:
        again.follow(record)

    assert [again.append(each, at_s=7) for each in SAID[2:]] == records[2:]
    assert again.head == head == LogHead(links=4, digest=head.digest)
