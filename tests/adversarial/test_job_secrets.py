"""Who wants a job's secrets and was not awarded it, and who hands over wrong ones."""

import pytest

from nunet_node.capability.invocation import Invocation
from nunet_node.identity.challenge import CHALLENGE_KIND, Challenge
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.secrets import SEALED_BYTES_MAX, SecretsUse, seal_secrets
from nunet_node.market.offers import BID, REFUSAL, Bid, CallForBids, Refusal
from nunet_node.protocol.inputs import FrameReceived
from nunet_node.protocol.messages import SUBMIT, ChallengeWanted, Refused
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import World, place, spec

MARKER = b"marker-2b9d"
OTHER = SigningKey(bytes([77]) * 32)
WANTED = spec(secrets=("TOKEN",))


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def owner(world, provider):
    """An owner whose own hand decides what is handed over."""
    return Puppet(world, 40)


def sealed(provider, owner, args, wrong=None):
    """Return what an owner hands over, with something wrong about it if need be."""
    wrong = dict(wrong or {})
    right = {
        "job": args["job"],
        "attempt": 1,
        "provider": provider.did,
        "owner": owner.user.did,
    }
    values = wrong.pop("values", {"TOKEN": MARKER})
    use = SecretsUse(**{**right, **wrong})
    data = seal_secrets(values, use, ephemeral_secret=bytes([7]) * 32)
    return {"attempt": wrong.get("attempt", 1), "sealed": data}


def accepted(owner, provider, **more):
    """Have a job accepted that names a secret, and return how it was submitted."""
    args = owner.submit_args(WANTED, **more)
    session = owner.dial(provider)
    heard = owner.command(session, provider, SUBMIT, args)
    assert code_of(heard) is None
    return session, args


def hand(owner, provider, session, args, given):
    heard = owner.command(session, provider, SUBMIT, {**args, "secrets": given})
    return code_of(heard)


def test_the_right_ones_start_the_job(provider, owner):
    session, args = accepted(owner, provider)
    given = sealed(provider, owner, args)
    assert hand(owner, provider, session, args, given) is None
    assert [each.job for each in provider.running] == [args["job"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": "a" * 32},
        {"owner": OTHER.did},
        {"provider": OTHER.did},
        {"attempt": 2},
        {"values": {"OTHER": MARKER}},
        {"values": {}},
    ],
    ids=["job", "owner", "provider", "attempt", "names", "none"],
)
def test_what_was_sealed_for_another_use_starts_nothing(provider, owner, wrong):
    session, args = accepted(owner, provider)
    given = {**sealed(provider, owner, args, wrong), "attempt": 1}
    refused = hand(owner, provider, session, args, given)
    assert refused == ("job.secrets-wrong" if "values" in wrong else "identity.sealed")
    assert provider.running == []
    assert provider.jobs[args["job"]].state is State.ALLOCATED


def test_a_replay_into_another_job_starts_nothing(provider, owner):
    session, first = accepted(owner, provider)
    given = sealed(provider, owner, first)
    assert hand(owner, provider, session, first, given) is None
    args = owner.submit_args(WANTED, salt=b"t" * 16)
    assert code_of(owner.command(session, provider, SUBMIT, args)) is None
    assert hand(owner, provider, session, args, given) is not None
    assert [each.job for each in provider.running] == [first["job"]]


def test_a_replay_into_another_attempt_starts_nothing(provider, owner):
    session, args = accepted(owner, provider)
    given = sealed(provider, owner, args)
    assert hand(owner, provider, session, args, given) is None
    provider.finish(exit_code=None, limit="lost")
    again = {**args, "attempt": 2}
    assert code_of(owner.command(session, provider, SUBMIT, again)) is None
    for attempt in (1, 2):
        replay = {**given, "attempt": attempt}
        assert hand(owner, provider, session, again, replay) is not None
    assert provider.running == []


def test_secrets_that_come_before_the_job_is_accepted_are_refused(provider, owner):
    args = owner.submit_args(WANTED)
    session = owner.dial(provider)
    given = sealed(provider, owner, args)
    assert hand(owner, provider, session, args, given) == "job.secrets-early"
    assert provider.jobs == {}


def test_another_owner_hands_nothing_to_somebody_elses_job(world, provider, owner):
    _, args = accepted(owner, provider)
    thief = Puppet(world, 42)
    session = thief.dial(provider)
    given = sealed(provider, owner, args)
    assert hand(thief, provider, session, args, given) == "job.id-mismatch"
    assert provider.running == []


def test_more_than_can_be_sealed_is_not_read(provider, owner):
    session, args = accepted(owner, provider)
    given = {"attempt": 1, "sealed": bytes(SEALED_BYTES_MAX + 1)}
    assert hand(owner, provider, session, args, given) is not None
    assert provider.node._provider.desk.secrets == {}


def test_handing_over_again_and_again_takes_the_room_of_once(provider, owner, world):
    world.starts_at_once = False
    session, args = accepted(owner, provider)
    for _ in range(8):
        hand(owner, provider, session, args, sealed(provider, owner, args))
    held = provider.node._provider.desk.secrets
    assert list(held) == [args["job"]]
    assert len(provider.running) == 1


def a_bidder_that_refuses(world, asker):
    """Return a provider that wins every call, and takes no job."""
    liar = Puppet(world, 50)

    def answer(liar, given):
        said = getattr(given.body, "payload", None)
        if isinstance(said, CallForBids):
            bid = Bid(call=said.call, price_micro_ntx=0)
            return liar.state(BID, bid, given.body.issuer)
        if isinstance(given.body, ChallengeWanted):
            asked = challenge_of(liar, asker, given.body)
            return liar.state(CHALLENGE_KIND, asked, given.body.subject)
        if isinstance(given, FrameReceived) and isinstance(given.body, Invocation):
            refusal = liar.state(REFUSAL, Refusal(code="x", reason="no"), asker.did)
            return Refused(data=refusal.data)
        return None

    liar.answer = answer
    liar.advertise()
    return liar


def challenge_of(verifier, asker, wanted):
    return Challenge(
        verifier=verifier.did,
        subject=wanted.subject,
        verifier_peer=verifier.peer_id,
        subject_peer=asker.peer_id,
        command=wanted.command,
        request_digest=wanted.request_digest,
        nonce=bytes(32),
        boot=bytes(16),
    )


def test_a_winner_that_refuses_the_job_has_seen_no_secret(world):
    user = world.peer(2)
    user.environment = {"TOKEN": MARKER}
    liar = a_bidder_that_refuses(world, user)
    honest = world.peer(1, cpus=2, price=9)
    world.run(for_s=1)

    job = place(user, WANTED)
    world.run(for_s=5)

    commands = [h for h in liar.heard if isinstance(h.body, Invocation)]
    assert [each.body.command for each in commands] == [SUBMIT]
    assert not any(b"sealed" in frame for frame in liar.raw)
    assert [each.provider for each in user.sealed] == [honest.did]
    assert [each.job for each in honest.running] == [job]
