"""Whoever was given a part takes no more than that part, and only while it holds."""

import pytest

from nunet_node.capability.held.terms import Terms
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import job_id_of
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import (
    CANCEL,
    LOGS,
    READ,
    STATUS,
    SUBMIT,
    WATCH,
    Invoke,
)
from nunet_node.protocol.trust.admission import Admission, Mode
from nunet_node.wire.schema import to_plain
from tests.unit.protocol.puppet import Puppet, code_of, spec_cid
from tests.unit.protocol.trust.givers import (
    ANCHOR,
    COLD,
    FRIEND,
    held,
    link,
    place_for,
    revocation,
)
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def owner(world, provider):
    return world.peer(2)


@pytest.fixture
def friend(world):
    return Puppet(world, 60, user=FRIEND)


def do(friend, session, peer, command, args, *chain, subject, **more):
    """Give a command on somebody's behalf, as an honest delegate does."""
    friend.holdings = held(*chain)
    given = {"subject": subject, "proofs": [each.cid for each in chain]}
    challenge = friend.challenge(
        session, peer, command, args, on_behalf_of=given["subject"]
    )
    body = friend.invocation(peer, command, args, challenge, **given)
    return friend.ask(
        session,
        Invoke(
            invocation=body.invocation,
            proofs=more.get("sent", ()) or tuple(each.data for each in chain),
        ),
    )


def finished(provider, owner, **more):
    job = place(owner, spec(**more))
    provider.finish()
    provider.store()
    return job


def shared(owner, job, **more):
    return link(owner.user, FRIEND, command=READ, terms=Terms(job=job), **more)


def test_what_was_shared_can_be_read(provider, owner, friend):
    job = finished(provider, owner)
    session = friend.dial(provider)
    answer = do(
        friend,
        session,
        provider,
        READ,
        {"job": job},
        shared(owner, job),
        subject=owner.user.did,
    )
    assert code_of(answer) is None
    assert [g.peer_id for g in provider.grants] == [friend.peer_id]


@pytest.mark.parametrize("command", [STATUS, LOGS, WATCH, CANCEL])
def test_what_was_shared_can_be_read_and_nothing_else(provider, owner, friend, command):
    job = place(owner, spec())
    before, session = list(provider.journal), friend.dial(provider)
    answer = do(
        friend,
        session,
        provider,
        command,
        {"job": job},
        shared(owner, job),
        subject=owner.user.did,
    )
    assert code_of(answer) == "capability.claim"
    assert provider.grants == []
    assert provider.journal == before


def test_one_shared_job_is_no_other_job(provider, owner, friend):
    job = finished(provider, owner)
    other = place(owner, spec(), salt=b"t" * 16)
    session = friend.dial(provider)
    answer = do(
        friend,
        session,
        provider,
        READ,
        {"job": other},
        shared(owner, job),
        subject=owner.user.did,
    )
    assert code_of(answer) == "capability.policy"
    assert provider.grants == []


def test_what_a_stranger_shares_of_anothers_job_is_as_if_there_were_none(
    provider, owner, friend
):
    job = finished(provider, owner)
    gift = link(COLD, FRIEND, command=READ, terms=Terms(job=job))
    session = friend.dial(provider)
    answer = do(friend, session, provider, READ, {"job": job}, gift, subject=COLD.did)
    assert code_of(answer) == "job.unknown"
    assert provider.grants == []


@pytest.mark.parametrize("opted_in", [False, True])
def test_a_delegate_cancels_only_where_the_owner_said_so(
    provider, owner, friend, opted_in
):
    job = place(owner, spec(cancel_delegable=opted_in))
    session = friend.dial(provider)
    whole = link(owner.user, FRIEND)
    answer = do(
        friend,
        session,
        provider,
        CANCEL,
        {"job": job},
        whole,
        subject=owner.user.did,
    )
    provider.world.run()
    wanted = State.CANCELLED if opted_in else State.RUNNING
    assert provider.jobs[job].state is wanted
    assert code_of(answer) == (None if opted_in else "job.unknown")


def submit_args(friend, owner_did, wanted, **more):
    args = friend.submit_args(wanted, **more)
    job = job_id_of(owner_did, spec_cid(wanted), args["salt"])
    return {**args, "job": job, "spec": to_plain(wanted)}


@pytest.mark.parametrize(
    ("gifts", "code"),
    [
        ([], "capability.claim"),
        ([link(COLD, ANCHOR)], "capability.audience"),
        ([link(COLD, FRIEND, command="/nunet/job/status")], "capability.claim"),
        ([link(COLD, FRIEND, command="/nunet/job/submit-all")], "capability.claim"),
        ([link(COLD, FRIEND, ttl_s=-1)], "capability.expired"),
        ([link(COLD, FRIEND, not_before_s=2**40)], "capability.too-early"),
        ([link(ANCHOR, FRIEND)], "capability.subject"),
        ([link(COLD, FRIEND, subject=None)], "capability.claim"),
        ([link(ANCHOR, FRIEND, subject=COLD.did)], "capability.subject"),
        (
            [
                link(COLD, ANCHOR, command="/nunet/job/status"),
                link(ANCHOR, FRIEND, subject=COLD.did),
            ],
            "capability.claim",
        ),
        ([link(COLD, FRIEND, terms=Terms(cpu_millis=100))], "capability.policy"),
    ],
)
def test_a_job_cannot_be_submitted_in_anothers_name_without_a_sound_chain(
    provider, friend, gifts, code
):
    args = submit_args(friend, COLD.did, spec())
    session, before = friend.dial(provider), list(provider.journal)
    answer = do(friend, session, provider, SUBMIT, args, *gifts, subject=COLD.did)
    assert code_of(answer) == code
    assert provider.journal == before
    assert not provider.jobs


def test_who_may_submit_alone_is_not_told_how_it_goes(provider, friend):
    args = submit_args(friend, COLD.did, spec())
    session = friend.dial(provider)
    gift = link(COLD, FRIEND, command=SUBMIT)
    answer = do(friend, session, provider, SUBMIT, args, gift, subject=COLD.did)
    assert code_of(answer) is None
    provider.world.run()
    pushed = [heard for heard in friend.heard if heard.re is None]
    assert pushed == []
    assert provider.jobs[args["job"]].state is State.RUNNING


def test_a_proof_that_is_named_but_not_sent_is_no_proof(provider, friend):
    args = submit_args(friend, COLD.did, spec())
    other = link(COLD, FRIEND)
    session = friend.dial(provider)
    answer = do(
        friend,
        session,
        provider,
        SUBMIT,
        args,
        link(COLD, FRIEND),
        subject=COLD.did,
        sent=(other.data,),
    )
    assert code_of(answer) == "capability.unavailable-proof"
    assert not provider.jobs


def test_proofs_that_nobody_named_are_of_no_use(provider, friend):
    args = submit_args(friend, COLD.did, spec())
    session = friend.dial(provider)
    challenge = friend.challenge(session, provider, SUBMIT, args, on_behalf_of=COLD.did)
    body = friend.invocation(provider, SUBMIT, args, challenge, subject=COLD.did)
    sent = Invoke(invocation=body.invocation, proofs=(link(COLD, FRIEND).data,))
    assert code_of(friend.ask(session, sent)) == "capability.claim"
    assert not provider.jobs


def test_many_jobs_at_once_do_not_get_past_a_budget(provider, friend):
    gift = link(COLD, FRIEND, terms=Terms(jobs=3))
    session, codes = friend.dial(provider), []
    for number in range(8):
        args = submit_args(friend, COLD.did, spec(), salt=bytes([number]) * 16)
        answer = do(friend, session, provider, SUBMIT, args, gift, subject=COLD.did)
        codes.append(code_of(answer))
    assert codes == [None] * 3 + ["budget.jobs"] * 5
    assert len(provider.jobs) == 3


def test_a_budget_is_not_renewed_by_passing_the_token_on(provider, friend):
    gift = link(COLD, ANCHOR, terms=Terms(jobs=1))
    session, codes = friend.dial(provider), []
    for number in range(3):
        again = link(ANCHOR, FRIEND, subject=COLD.did)
        args = submit_args(friend, COLD.did, spec(), salt=bytes([number]) * 16)
        answer = do(
            friend, session, provider, SUBMIT, args, gift, again, subject=COLD.did
        )
        codes.append(code_of(answer))
    assert codes == [None, "budget.jobs", "budget.jobs"]


def test_an_admission_that_was_made_for_another_owner_admits_nobody_else(world):
    by_chain = Admission(mode=Mode.CAPABILITY, anchors=frozenset({ANCHOR.did}))
    provider = world.peer(1, cpus=2, admission=by_chain)
    friend = Puppet(world, 60, user=FRIEND)
    stolen = link(ANCHOR, COLD)
    args = submit_args(friend, FRIEND.did, spec(), admission=(stolen.cid,))
    session = friend.dial(provider)
    challenge = friend.challenge(session, provider, SUBMIT, args)
    body = friend.invocation(provider, SUBMIT, args, challenge)
    sent = Invoke(invocation=body.invocation, proofs=(stolen.data,))
    assert code_of(friend.ask(session, sent)) == "capability.audience"
    assert not provider.jobs


def test_a_chain_of_admission_is_no_chain_of_authority(world):
    by_chain = Admission(mode=Mode.CAPABILITY, anchors=frozenset({ANCHOR.did}))
    provider = world.peer(1, cpus=2, admission=by_chain)
    friend = Puppet(world, 60, user=FRIEND)
    gift = link(ANCHOR, COLD)
    args = submit_args(friend, COLD.did, spec(), admission=(gift.cid,))
    session = friend.dial(provider)
    answer = do(friend, session, provider, SUBMIT, args, gift, subject=COLD.did)
    assert code_of(answer) == "capability.audience"
    assert not provider.jobs


@pytest.mark.parametrize("named", [5, "x", (b"x",), ("x",), {"a": 1}, True])
def test_an_admission_that_is_no_list_of_ids_is_refused(provider, friend, named):
    args = submit_args(friend, FRIEND.did, spec(), admission=named)
    session = friend.dial(provider)
    challenge = friend.challenge(session, provider, SUBMIT, args)
    answer = friend.ask(session, friend.invocation(provider, SUBMIT, args, challenge))
    assert code_of(answer) == "capability.claim"
    assert not provider.jobs


@pytest.mark.parametrize("which", ["root", "middle", "leaf"])
def test_revoking_any_link_ends_what_hangs_on_it(provider, owner, friend, which):
    job = finished(provider, owner)
    chain = {
        "root": link(owner.user, COLD, command="/nunet/result"),
        "middle": link(COLD, ANCHOR, subject=owner.user.did, command=READ),
        "leaf": link(ANCHOR, FRIEND, subject=owner.user.did, command=READ),
    }
    links, session = list(chain.values()), friend.dial(provider)

    def read():
        return do(
            friend,
            session,
            provider,
            READ,
            {"job": job},
            *links,
            subject=owner.user.did,
        )

    assert code_of(read()) is None
    above = links[: list(chain).index(which) + 1]
    giver = {"root": owner.user, "middle": COLD, "leaf": ANCHOR}[which]
    provider.give(ins.RevocationsHeard(revocations=(revocation(giver, *above),)))
    provider.world.run()
    assert provider.grants == []
    session = friend.dial(provider)
    assert code_of(read()) == "capability.revoked"
    provider.kill()
    provider.world.run()
    provider.restart()
    session = friend.dial(provider)
    assert code_of(read()) == "capability.revoked"
    assert provider.grants == []


def test_a_revocation_that_came_before_the_token_was_seen_works(
    provider, owner, friend
):
    job = finished(provider, owner)
    gift = shared(owner, job)
    taken = revocation(owner.user, gift)
    provider.give(ins.RevocationsHeard(revocations=(taken, taken)))
    session = friend.dial(provider)
    answer = do(
        friend, session, provider, READ, {"job": job}, gift, subject=owner.user.did
    )
    assert code_of(answer) == "capability.revoked"


def test_a_strangers_word_revokes_nothing(provider, owner, friend):
    job, thief = finished(provider, owner), SigningKey(b"t" * 32)
    gift = shared(owner, job)
    with pytest.raises(Exception, match="only who issued"):
        revocation(thief, gift)
    session = friend.dial(provider)
    answer = do(
        friend, session, provider, READ, {"job": job}, gift, subject=owner.user.did
    )
    assert code_of(answer) is None


def test_a_revocation_races_the_start_of_a_job_and_wins_or_comes_too_late(world):
    provider = world.peer(1, cpus=1)
    home = world.peer(2)
    gift = link(COLD, home.user)
    home.holdings.add([gift])
    busy = place(home, spec())
    waiting = place_for(home, COLD, spec())
    # The end of one job and the revocation of the next come in one breath.
    order = provider.running.pop(0)
    provider.give(ins.RevocationsHeard(revocations=(revocation(COLD, gift),)))
    provider.give(ins.JobExited(job=order.job, attempt=order.attempt, exit_code=0))
    world.run()
    provider.store()
    assert provider.jobs[busy].state is State.COMPLETED
    assert provider.jobs[waiting].state is State.FAILED
    assert not any(run.job == waiting for run in provider.running)
