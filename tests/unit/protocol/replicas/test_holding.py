"""What a holder agrees to, whom it serves, and when it lets go."""

from dataclasses import replace

import msgspec
import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.jobs.specification import RETENTION_S_MAX
from nunet_node.jobs.statements import RECEIPT, Held, Receipt
from nunet_node.protocol import effects as fx
from nunet_node.protocol.inputs import ReportWanted
from nunet_node.protocol.messages import KEEP
from nunet_node.protocol.replicas.events import DropReplica, ReplicaWanted
from nunet_node.protocol.replicas.holding import (
    HANDING_S_MIN,
    OWNER_SHARE,
    RECEIPT_BYTES_MAX,
)
from nunet_node.protocol.trust.admission import Admission, Mode
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting
from tests.unit.protocol.world import OUTPUT, START_S


@pytest.fixture
def town():
    return Neighbourhood(holders=1)


def mandate(town, by, **changed):
    """Return the owner's delegation to somebody to have the copies kept."""
    job = next(iter(town.provider.jobs.values()))
    given = {
        "signer": town.user.user,
        "audience": by,
        "subject": town.user.user.did,
        "command": KEEP,
        "nonce": b"n" * 16,
        "expires_at_s": START_S + 10**7,
        "policy": (("==", ".job", job.job),),
    }
    return open_delegation(seal_delegation(**{**given, **changed}))


def ask(town, *, by=None, links=None, **changed):
    """Ask the holder to keep a copy, with the provider's key or another."""
    key = by or town.provider.key
    puppet = Puppet(town.world, 60, user=key)
    links = [mandate(town, key.did)] if links is None else links
    job = next(iter(town.provider.jobs.values()))
    args = {
        "job": job.job,
        "attempt": 1,
        "root": job.result,
        "size_bytes": job.kept_bytes,
        "until_s": job.kept_until_s,
        "receipt": job.receipt,
        **changed,
    }
    (holder,) = town.holders
    owner = town.user.user.did
    session = puppet.dial(holder)
    challenge = puppet.challenge(session, holder, KEEP, args, on_behalf_of=owner)
    said = puppet.invocation(
        holder,
        KEEP,
        args,
        challenge,
        subject=owner,
        proofs=[link.cid for link in links],
    )
    said = msgspec.structs.replace(said, proofs=tuple(link.data for link in links))
    return puppet.ask(session, said)


def held(heard):
    assert isinstance(heard.body.payload, Held), heard
    return heard.body.payload


@pytest.fixture
def ended(town):
    """A job that has ended with nobody to keep a copy of its result."""
    (holder,) = town.holders
    holder.kill()
    town.finished(wanting(replicas=1))
    holder.restart()
    return holder


def test_who_may_have_it_kept_is_promised_room_and_expected(town, ended):
    said = held(ask(town))

    assert (said.root, said.here) == (OUTPUT, False)
    assert [e.root for e in ended.handing] == [OUTPUT]


def test_a_stranger_without_a_delegation_is_refused(town, ended):
    assert code_of(ask(town, links=[])) == "capability.claim"
    assert not ended.node.replicas


def test_a_delegation_for_another_jobs_copies_is_refused(town, ended):
    other = mandate(town, town.provider.did, policy=(("==", ".job", "another"),))

    assert code_of(ask(town, links=[other])) == "capability.policy"
    assert not ended.node.replicas


def test_an_expired_delegation_is_refused(town, ended):
    old = mandate(town, town.provider.did, expires_at_s=START_S - 1)

    assert code_of(ask(town, links=[old])) == "capability.expired"
    assert not ended.node.replicas


@pytest.mark.parametrize(
    "changed", [{"attempt": 2}, {"root": OUTPUT.of_raw(b"another")}]
)
def test_a_receipt_about_another_result_is_refused(town, ended, changed):
    assert code_of(ask(town, **changed)) == "replica.receipt"
    assert not ended.node.replicas


def test_a_receipt_of_somebody_who_was_not_allowed_is_refused(town, ended):
    heard = ask(town, by=town.user.key)

    assert code_of(heard) == "replica.receipt"


def test_a_receipt_that_is_none_is_refused(town, ended):
    assert code_of(ask(town, receipt=b"no receipt"))
    assert code_of(ask(town, receipt=bytes(RECEIPT_BYTES_MAX + 1)))


def test_no_more_than_there_is_room_for_is_taken(town, ended):
    ended.node._provider.desk.store_bytes = 8
    assert code_of(ask(town)) == "store.owner-full"
    ended.node._provider.desk.store_bytes = OWNER_SHARE * 17
    ended.node._provider.desk.full = True
    assert code_of(ask(town)) == "store.full"
    ended.node._provider.desk.full = False
    assert held(ask(town))
    room = ended.node._provider.desk.store_free_bytes(
        Turn(ended.node._ledger, town.world.now)
    )
    assert room == (OWNER_SHARE - 1) * 17


def test_a_node_that_offers_no_room_says_so(town, ended):
    ended.node._provider.desk.store_bytes = 0

    assert code_of(ask(town)) == "store.none"


def test_a_node_that_lists_its_owners_keeps_for_those_alone(town, ended):
    desk = ended.node._provider.desk
    desk.admission = Admission(mode=Mode.ALLOW, allow=frozenset({ended.did}))
    assert code_of(ask(town)) == "admission.not-listed"
    desk.admission = replace(desk.admission, allow=frozenset({town.user.user.did}))
    assert held(ask(town))


@pytest.mark.parametrize("ahead_s", [0, RETENTION_S_MAX + 1])
def test_a_time_that_is_over_or_too_far_is_refused(town, ended, ahead_s):
    until_s = town.world.now.unix_s + ahead_s

    assert code_of(ask(town, until_s=until_s)) == "store.time"


def test_a_longer_time_is_agreed_to_and_a_shorter_one_changes_nothing(town, ended):
    now_s = town.world.now.unix_s
    assert held(ask(town, until_s=now_s + 1000)).until_s == now_s + 1000
    assert held(ask(town, until_s=now_s + 2000)).until_s == now_s + 2000
    assert held(ask(town, until_s=now_s + 500)).until_s == now_s + 2000
    assert code_of(ask(town, until_s=now_s + RETENTION_S_MAX + 1)) == "store.time"


def test_a_copy_that_is_never_handed_over_is_given_up(town, ended):
    town.provider.kill()
    ask(town)
    assert ended.node.replicas
    town.world.run(for_s=HANDING_S_MIN + 2)

    assert not ended.node.replicas
    assert isinstance(ended.dropped[0], DropReplica)


def test_a_copy_goes_when_its_time_is_over(town):
    job = town.finished(wanting(replicas=1, retention_s=1000))
    (holder,) = town.holders
    assert town.keeping(job) == [holder]
    town.world.run(for_s=1001)

    assert not holder.node.replicas
    assert not holder.copies


def test_a_copy_outlives_a_restart_and_still_goes_in_time(town):
    job = town.finished(wanting(replicas=1, retention_s=1000))
    (holder,) = town.holders
    holder.kill()
    holder.restart()
    assert town.keeping(job) == [holder]
    town.world.run(for_s=1001)

    assert not holder.node.replicas


def test_the_owner_reads_a_copy_after_its_provider_is_gone(town):
    job = town.finished(wanting(replicas=1))
    (holder,) = town.holders
    town.provider.kill()
    town.user.give(wanted(job, holder))
    town.world.run()

    (granted,) = town.user.told(fx.ReadGranted)
    assert granted.peer_id == holder.peer_id
    assert granted.receipt.result == OUTPUT
    grant = [g for g in holder.grants if g.peer_id == town.user.peer_id]
    assert [g.root for g in grant] == [OUTPUT]


def test_to_a_stranger_a_copy_is_not_there(town):
    job = town.finished(wanting(replicas=1))
    (holder,) = town.holders
    stranger = town.world.peer(50)
    stranger.node._ledger.orders[job] = replace(
        town.user.orders[job], owner=stranger.user.did, spec=None
    )
    stranger.give(wanted(job, holder))
    town.world.run()

    (refused,) = stranger.told(fx.CommandRefused)
    assert refused.refusal.code == "job.unknown"
    assert not [g for g in holder.grants if g.peer_id == stranger.peer_id]


def test_a_receipt_that_the_custodian_did_not_sign_is_not_believed(town):
    job = town.finished(wanting(replicas=1))
    (holder,) = town.holders
    ((key, replica),) = holder.node.replicas.items()
    turn = Turn(holder.node._ledger, town.world.now)
    said = Receipt(
        job=job,
        owner=replica.owner,
        attempt=1,
        spec=OUTPUT,
        state="completed",
        engine="process",
        isolation="process",
        started_s=1,
        ended_s=2,
        result=OUTPUT.of_raw(b"forged"),
        result_bytes=1,
    )
    voice = holder.node._provider.desk.voice
    forged = voice.state(turn, RECEIPT, said, replica.owner, 1000)
    holder.node._ledger.replicas[key] = replace(replica, receipt=forged)
    town.user.give(wanted(job, holder))
    town.world.run()

    (refused,) = town.user.told(fx.CommandRefused)
    assert refused.refusal.code == "peer.wrong-issuer"
    assert not town.user.told(fx.ReadGranted)


def test_what_was_agreed_stands_in_the_receipt_and_the_report(town):
    job = town.finished(wanting(replicas=1, retention_s=1000))
    kept = town.provider.jobs[job]
    town.user.give(ReportWanted(job=job))
    town.world.run()

    (told,) = town.user.told(fx.ReportReceived)
    assert told.report.kept_until_s == kept.kept_until_s
    assert told.report.replicas == (town.holders[0].did,)
    assert not told.report.expired


def wanted(job, holder):
    return ReplicaWanted(
        job=job, holder=holder.did, peer_id=holder.peer_id, addresses=()
    )
