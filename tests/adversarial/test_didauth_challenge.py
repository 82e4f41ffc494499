"""Attacks on the proof of a DID that comes before every command.

Each must end in a typed refusal and change nothing; numbers are those of the
negative tests of DID authentication that the threat model lists.
"""

import pytest

from nunet_node.identity.challenge import SESSION_CHALLENGES_MAX, challenge_digest
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import Statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Accepted
from nunet_node.protocol.messages import (
    CANCEL,
    STATUS,
    SUBMIT,
    ChallengeWanted,
    Invoke,
)
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import World, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def asker(world):
    return Puppet(world, 50)


def assert_nothing_happened(provider):
    assert provider.journal == []
    assert provider.jobs == {}
    assert provider.reserved().cpu_millis == 0


def test_a_command_without_a_challenge_is_refused(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())

    heard = asker.ask(session, asker.invocation(provider, SUBMIT, args, None))

    assert code_of(heard) == "challenge.missing"
    assert_nothing_happened(provider)


def test_a_challenge_that_is_no_bytes_is_refused(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec(), challenge="text")

    heard = asker.ask(session, asker.invocation(provider, SUBMIT, args, None))

    assert code_of(heard) == "challenge.missing"
    assert_nothing_happened(provider)


def test_a_challenge_that_was_never_made_is_refused(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())

    heard = asker.ask(session, asker.invocation(provider, SUBMIT, args, b"made up"))

    assert code_of(heard) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_the_same_answer_twice_acts_once(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    answer = asker.invocation(provider, SUBMIT, args, challenge)

    first = asker.ask(session, answer)
    before = list(provider.journal)
    second = asker.ask(session, answer)

    assert isinstance(first.body.payload, Accepted)
    assert code_of(second) == "challenge.unknown"
    assert provider.journal == before


def test_a_late_answer_is_refused(world, provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    world.run(for_s=121)

    heard = asker.ask(session, asker.invocation(provider, SUBMIT, args, challenge))

    assert code_of(heard) == "challenge.expired"
    assert_nothing_happened(provider)


def test_an_expired_signature_is_refused_even_on_a_fresh_challenge(
    world, provider, asker
):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    stale = asker.invocation(
        provider, SUBMIT, args, challenge, expires_at_s=world.now.unix_s - 1
    )

    assert code_of(asker.ask(session, stale)) is not None
    assert_nothing_happened(provider)


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 2},
        {"salt": b"t" * 16},
        {"job": "a" * 32},
        {"extra": 1},
    ],
)
def test_a_request_changed_after_the_challenge_is_refused(provider, asker, change):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)

    altered = asker.invocation(provider, SUBMIT, {**args, **change}, challenge)

    assert code_of(asker.ask(session, altered)) == "challenge.mismatch"
    assert_nothing_happened(provider)


def test_an_answer_to_one_command_is_no_answer_to_another(provider, asker):
    session = asker.dial(provider)
    asker.command(session, provider, SUBMIT, asker.submit_args(spec()))
    args = {"job": next(iter(provider.jobs))}
    challenge = asker.challenge(session, provider, STATUS, args)

    heard = asker.ask(session, asker.invocation(provider, CANCEL, args, challenge))

    assert code_of(heard) == "challenge.mismatch"
    assert provider.jobs[args["job"]].state is State.RUNNING


def test_a_challenge_is_spent_by_an_answer_that_fails(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    altered = asker.invocation(provider, SUBMIT, {**args, "attempt": 2}, challenge)
    right = asker.invocation(provider, SUBMIT, args, challenge)

    asker.ask(session, altered)

    assert code_of(asker.ask(session, right)) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_another_did_cannot_answer_the_challenge(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    other = SigningKey(b"o" * 32)

    heard = asker.ask(
        session,
        asker.invocation(
            provider, SUBMIT, args, challenge, signer=other, subject=other.did
        ),
    )

    assert code_of(heard) == "challenge.mismatch"
    assert_nothing_happened(provider)


def test_a_signature_of_another_key_under_the_right_did_is_refused(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)

    class Forger:
        did = asker.user.did
        algorithm = asker.user.algorithm

        def sign(self, message):
            return SigningKey(b"o" * 32).sign(message)

    forged = asker.invocation(provider, SUBMIT, args, challenge, signer=Forger())

    assert code_of(asker.ask(session, forged)) is not None
    assert_nothing_happened(provider)


def test_a_stranger_cannot_act_for_an_owner_without_a_delegation(provider, asker):
    session = asker.dial(provider)
    owner = SigningKey(b"o" * 32)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)

    claimed = asker.invocation(provider, SUBMIT, args, challenge, subject=owner.did)

    assert code_of(asker.ask(session, claimed)) is not None
    assert_nothing_happened(provider)


def test_an_altered_signature_is_refused(provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    data = asker.invocation(provider, SUBMIT, args, challenge).invocation
    for at in range(0, len(data), 7):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert code_of(asker.ask(session, Invoke(invocation=altered))) is not None
    assert_nothing_happened(provider)


def test_a_challenge_of_one_session_is_void_in_another(provider, asker):
    args = asker.submit_args(spec())
    challenge = asker.challenge(asker.dial(provider), provider, SUBMIT, args)
    other = asker.dial(provider)

    heard = asker.ask(other, asker.invocation(provider, SUBMIT, args, challenge))

    assert code_of(heard) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_a_challenge_made_for_one_peer_is_void_from_another(world, provider, asker):
    thief = Puppet(world, 51, user=asker.user)
    args = asker.submit_args(spec())
    challenge = asker.challenge(asker.dial(provider), provider, SUBMIT, args)
    stolen = asker.invocation(provider, SUBMIT, args, challenge)

    assert code_of(thief.ask(thief.dial(provider), stolen)) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_a_challenge_dies_with_its_session(world, provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    world.cut(asker, provider)
    world.run()

    heard = asker.ask(
        asker.dial(provider), asker.invocation(provider, SUBMIT, args, challenge)
    )

    assert code_of(heard) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_a_restart_voids_every_challenge(world, provider, asker):
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)
    provider.kill()
    provider.restart()

    heard = asker.ask(
        asker.dial(provider), asker.invocation(provider, SUBMIT, args, challenge)
    )

    assert code_of(heard) == "challenge.unknown"
    assert_nothing_happened(provider)


def test_a_command_for_another_node_is_refused(world, provider, asker):
    elsewhere = world.peer(2, cpus=2)
    session = asker.dial(provider)
    args = asker.submit_args(spec())
    challenge = asker.challenge(session, provider, SUBMIT, args)

    heard = asker.ask(session, asker.invocation(elsewhere, SUBMIT, args, challenge))

    assert code_of(heard) is not None
    assert_nothing_happened(provider)
    assert_nothing_happened(elsewhere)


def test_a_peer_that_asks_for_many_challenges_is_bounded_and_others_are_served(
    world, provider, asker
):
    session = asker.dial(provider)
    wanted = ChallengeWanted(
        subject=asker.user.did, command=SUBMIT, request_digest=b"d" * 32
    )
    answers = [asker.ask(session, wanted) for _ in range(50)]
    made = [a for a in answers if code_of(a) is None]

    assert len(made) == SESSION_CHALLENGES_MAX
    assert {code_of(a) for a in answers[len(made) :]} == {"challenge.too-many"}
    other = Puppet(world, 52)
    heard = other.command(
        other.dial(provider), provider, SUBMIT, other.submit_args(spec())
    )
    assert isinstance(heard.body.payload, Accepted)


def test_no_two_challenges_are_alike(provider, asker):
    wanted = ChallengeWanted(
        subject=asker.user.did, command=SUBMIT, request_digest=b"d" * 32
    )
    seen = set()
    for _ in range(20):
        session = asker.dial(provider)
        for _ in range(SESSION_CHALLENGES_MAX):
            heard = asker.ask(session, wanted)
            assert isinstance(heard.body, Statement)
            seen.add(heard.body.payload.nonce)
            seen.add(challenge_digest(heard.body.data))
    assert len(seen) == 2 * 20 * SESSION_CHALLENGES_MAX
