"""An order's record changes by facts alone, and knows what to make of each."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Accepted, Confirmation, Notice
from nunet_node.protocol.facts import (
    AwardAccepted,
    AwardDropped,
    AwardIntended,
    BidKept,
    CancelIntended,
    CancelKept,
    CustodianKept,
    InputsHanded,
    NoticeKept,
    OrderEnded,
    OrderPlaced,
    ResultFetched,
)
from nunet_node.protocol.order import BIDS_KEPT_MAX, apply_order
from tests.unit.protocol.puppet import spec_cid
from tests.unit.protocol.world import OUTPUT, spec

JOB = "a" * 32
OWNER, PROVIDER, OTHER = (SigningKey(bytes([n]) * 32).did for n in (1, 2, 3))
PLACED = OrderPlaced(job=JOB, owner=OWNER, spec=spec(), salt=b"s" * 16, at_s=5)


def after(*facts):
    order = None
    for fact in facts:
        order = apply_order(order, fact)
    return order


def intended(attempt=1, provider=PROVIDER):
    return AwardIntended(
        job=JOB,
        attempt=attempt,
        provider=provider,
        peer_id="p",
        addresses=(),
        at_s=6,
    )


def accepted(attempt=1, state=State.ALLOCATED):
    said = Accepted(
        job=JOB,
        owner=OWNER,
        attempt=attempt,
        spec=spec_cid(spec()),
        state=state,
        lease_until_s=99,
    )
    return AwardAccepted(job=JOB, attempt=attempt, accepted=said, data=b"d", at_s=7)


def kept(state, sequence=1, **more):
    said = Notice(
        job=JOB,
        owner=OWNER,
        attempt=1,
        sequence=sequence,
        previous=b"",
        state=state,
        at_s=8,
        **more,
    )
    return NoticeKept(job=JOB, notice=said, data=b"notice")


def test_a_placed_order_waits_for_a_provider():
    order = after(PLACED)
    assert (order.owner, order.state, order.attempt) == (OWNER, State.QUEUED, 0)
    assert order.unplaced
    assert not order.in_custody


def test_an_award_is_in_custody_once_it_was_accepted_and_until_it_is_dropped():
    assert not after(PLACED, intended()).in_custody
    assert not after(PLACED, intended()).unplaced
    order = after(PLACED, intended(), accepted())
    assert order.in_custody
    assert order.state is State.ALLOCATED
    dropped = AwardDropped(job=JOB, attempt=1, reason="why", at_s=8, lost=True)
    order = apply_order(order, dropped)
    assert not order.in_custody
    assert order.unplaced
    assert order.award.lost
    assert (order.state, order.reason) == (State.QUEUED, "why")
    assert [(m.state, m.attempt) for m in order.history] == [(State.LOST, 1)]


def test_a_new_award_begins_a_new_chain_of_notices():
    order = after(PLACED, intended(), accepted(), kept(State.RUNNING))
    assert order.notice_digest
    order = apply_order(order, intended(2, OTHER))
    assert (order.notice, order.notice_digest, order.attempt) == (None, b"", 2)
    assert len(order.history) == 1


@pytest.mark.parametrize(
    "late",
    [
        accepted(1),
        AwardDropped(job=JOB, attempt=1, reason="x", at_s=9),
        InputsHanded(job=JOB, attempt=1),
    ],
)
def test_a_word_about_an_earlier_award_changes_nothing(late):
    order = after(PLACED, intended(1), intended(2, OTHER))
    assert apply_order(order, late) == order


def test_a_notice_says_how_the_job_stands():
    order = after(
        PLACED,
        intended(),
        accepted(),
        InputsHanded(job=JOB, attempt=1),
        kept(State.COMPLETED, exit_code=0, result=OUTPUT, link="nunet://x"),
    )
    assert order.ended
    assert (order.exit_code, order.result, order.link) == (0, OUTPUT, "nunet://x")
    assert order.award.inputs_handed


def test_an_order_that_we_ended_says_why():
    ended = OrderEnded(job=JOB, state=State.REFUSED, reason="no room ever", at_s=9)
    order = after(PLACED, ended)
    assert order.ended
    assert order.reason == "no room ever"
    assert [m.state for m in order.history] == [State.REFUSED]


def test_an_acceptance_of_an_order_that_has_ended_does_not_revive_it():
    ended = OrderEnded(job=JOB, state=State.CANCELLED, reason="", at_s=9)
    assert after(PLACED, intended(), ended, accepted()).state is State.CANCELLED


def test_the_newest_answer_of_each_provider_is_kept_and_only_so_many():
    order = after(
        PLACED,
        BidKept(job=JOB, provider=PROVIDER, price_micro_ntx=1),
        BidKept(job=JOB, provider=PROVIDER, refused="full"),
    )
    assert [b.refused for b in order.bids] == ["full"]
    for number in range(BIDS_KEPT_MAX + 5):
        bid = BidKept(job=JOB, provider=f"did:x:{number}")
        order = apply_order(order, bid)
    assert len(order.bids) == BIDS_KEPT_MAX


def test_a_cancel_is_wanted_and_then_confirmed():
    said = Confirmation(job=JOB, owner=OWNER, attempt=1, state=State.CANCELLED, at_s=9)
    order = after(PLACED, CancelIntended(job=JOB, at_s=8))
    assert order.cancel_wanted
    order = apply_order(order, CancelKept(job=JOB, confirmation=said, data=b"d"))
    assert order.confirmation == said


def test_where_a_result_was_written_is_kept():
    fetched = ResultFetched(job=JOB, path="here", at_s=9)
    assert after(PLACED, fetched).fetched_to == "here"


def custodian(provider, *addresses):
    return CustodianKept(job=JOB, provider=provider, peer_id="q", addresses=addresses)


def test_a_custodian_that_moved_keeps_what_it_accepted():
    order = after(PLACED, intended(), accepted(), custodian(PROVIDER, "/new"))
    assert order.award.addresses == ("/new",)
    assert order.in_custody


def test_a_job_of_another_home_has_a_custodian_and_no_more():
    order = after(custodian(PROVIDER, "/a"))
    assert (order.award.provider, order.attempt, order.spec) == (PROVIDER, 1, None)
    assert not order.in_custody


def test_a_fact_of_another_order_is_a_mistake():
    with pytest.raises(MisuseError):
        apply_order(after(PLACED), CancelIntended(job="b" * 32, at_s=1))
