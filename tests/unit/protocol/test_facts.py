"""Every fact comes back from the journal as it was, and stands in one stream."""

from typing import get_args

import pytest

from nunet_node.jobs.lifecycle import is_final
from nunet_node.protocol.facts import (
    FACT_BYTES_MAX,
    NODE_STREAM,
    AwardIntended,
    Fact,
    NoticeKept,
    OrderPlaced,
    is_repeatable,
    stream_of,
)
from nunet_node.wire.schema import decode_record, encode_record
from tests.unit.protocol.world import World, capacity, place, spec


@pytest.fixture(scope="module")
def journals():
    """The journals of a provider and a submitter after a busy day."""
    world = World()
    provider, user = world.peer(1, cpus=2), world.peer(2)
    world.run(for_s=1)
    for number in range(3):
        place(user, spec(cpus=2), bytes([number]) * 16)
    provider.finish()
    provider.store()
    provider.kill()
    provider.capacity = capacity(2)
    provider.restart()
    world.run(for_s=20)
    return provider.journal, user.journal


def test_facts_come_back_from_the_journal_as_they_were(journals):
    for fact in (*journals[0], *journals[1]):
        data = encode_record(fact)
        assert decode_record(Fact, data, bytes_max=FACT_BYTES_MAX) == fact


def test_a_providers_facts_stand_together_and_an_orders_apart(journals):
    provider, user = journals
    assert {stream_of(f) for f in provider} == {NODE_STREAM}
    assert {stream_of(f) for f in user} == {f.job for f in user}
    assert len({f.job for f in user}) == 3


def test_no_two_facts_share_a_tag():
    tags = [kind.__struct_config__.tag for kind in get_args(Fact)]
    assert len(tags) == len(set(tags))
    assert all(isinstance(tag, str) for tag in tags)


def test_what_is_decided_waits_for_the_disk_and_what_can_be_asked_again_does_not(
    journals,
):
    provider, user = journals
    assert not any(map(is_repeatable, provider))
    waits = {type(fact) for fact in user if not is_repeatable(fact)}
    assert {OrderPlaced, AwardIntended, NoticeKept} <= waits
    notices = [fact for fact in user if isinstance(fact, NoticeKept)]
    assert {is_repeatable(n) for n in notices} == {True, False}
    assert all(is_repeatable(n) != is_final(n.notice.state) for n in notices)
