"""Messages of the right shape that a stranger signed: well-formed, and still nothing.

Bent messages fail at their signatures; these hold. Every kind of statement and every
command is made from its record's own types, now and then with one part wrong, signed
by a stranger under its own DID, and given to a provider that runs somebody's job and
to that somebody. They may answer. Nothing they keep changes.
"""

import contextlib
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nunet_node.capability.invocation import request_digest
from nunet_node.errors import MisuseError, PeerError
from nunet_node.protocol import effects as fx
from nunet_node.protocol.messages import (
    CANCEL,
    LOGS,
    READ,
    STATUS,
    SUBMIT,
    WATCH,
    Body,
    Frame,
)
from nunet_node.protocol.opening import STATEMENTS
from nunet_node.protocol.provider.commands import JobArgs, WatchArgs
from nunet_node.protocol.provider.submission import SubmitArgs
from nunet_node.wire import cbor
from tests.shapes import ANYTHING, fitting, shaped
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import World, place, snapshot, spec

COMMANDS = {
    SUBMIT: SubmitArgs,
    STATUS: JobArgs,
    LOGS: JobArgs,
    WATCH: WatchArgs,
    CANCEL: JobArgs,
    READ: JobArgs,
}
SEVERAL = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def scene():
    """Return a provider that runs a job, whose job it is, and a stranger."""
    world = World()
    provider, owner = world.peer(1, cpus=2), world.peer(2)
    job = place(owner, spec())
    return world, provider, owner, Puppet(world, 60), job


def kept(*peers):
    return [(list(peer.journal), snapshot(peer.node)) for peer in peers]


def say(world, puppet, session, data):
    """Send a frame as it is; what is no frame ends the session, and no more."""
    with contextlib.suppress(PeerError):
        world._send(puppet, fx.Send(session=session, data=data))
    world.run()


@pytest.mark.parametrize("kind", sorted(STATEMENTS))
def test_nothing_comes_of_a_statement_that_a_stranger_made(kind):
    record, _ = STATEMENTS[kind]
    world, provider, owner, stranger, _ = scene()
    before = kept(provider, owner)

    @SEVERAL
    @given(st.one_of(fitting(record), shaped(record)), st.booleans())
    def tried(payload, to_owner):
        peer = owner if to_owner else provider
        audience = peer.user.did if to_owner else peer.did
        try:
            body = stranger.state(kind, payload, audience)
        except MisuseError:
            return
        stranger.say(stranger.dial(peer), body)
        world.run()
        assert kept(provider, owner) == before

    tried()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_nothing_comes_of_a_command_that_a_stranger_gave(command):
    record = COMMANDS[command]
    _, provider, owner, stranger, job = scene()
    before = kept(provider, owner)

    @SEVERAL
    @given(st.one_of(fitting(record), shaped(record)), st.booleans())
    def tried(args, about_the_job):
        if not isinstance(args, dict):
            return
        if about_the_job:
            args = {**args, "job": job}
        try:
            request_digest("", "", "", command, args)
        except MisuseError:
            return
        # One session each, so that none is over its number of challenges.
        answer = stranger.command(stranger.dial(provider), provider, command, args)
        assert code_of(answer) is not None
        assert kept(provider, owner) == before
        assert provider.grants == []

    tried()


@pytest.mark.parametrize("kind", [Frame, *get_args(Body)], ids=lambda k: k.__name__)
def test_nothing_comes_of_any_other_frame(kind):
    world, provider, owner, stranger, _ = scene()
    before = kept(provider, owner)

    @SEVERAL
    @given(st.one_of(fitting(kind), shaped(kind)), st.integers(1, 2**53 - 1))
    def tried(plain, number):
        frame = plain if kind is Frame else {"id": number, "body": plain}
        try:
            data = cbor.encode(frame)
        except MisuseError:
            return
        for peer in (provider, owner):
            say(world, stranger, stranger.dial(peer), data)
        assert kept(provider, owner) == before

    tried()


@SEVERAL
@given(ANYTHING, st.integers(1, 2**53 - 1))
def test_nothing_comes_of_what_is_no_frame(plain, number):
    world, provider, owner, stranger, _ = scene()
    before = kept(provider, owner)
    for frame in (plain, {"id": number, "body": plain}):
        say(world, stranger, stranger.dial(provider), cbor.encode(frame))
    assert kept(provider, owner) == before
