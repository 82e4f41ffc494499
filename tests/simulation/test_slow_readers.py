"""Peers that read at a trickle: what is sent to them waits, and nobody else does."""

from pathlib import Path

import msgspec
import pytest

from nunet_node.network import stream
from nunet_node.network.libp2p import substream
from nunet_node.protocol.requester.calling import BIDS_S
from nunet_node.runtime.exchange import control
from nunet_node.simulator.medium import trickle
from nunet_node.simulator.plan import NS_PER_S, make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import load_scenario
from nunet_node.simulator.world.machine import Link

SCENARIO = load_scenario(Path(__file__).parents[2] / "simulations/slow_readers.toml")
SMALL = msgspec.structs.replace(
    SCENARIO,
    run_s=60,
    fleet=msgspec.structs.replace(SCENARIO.fleet, providers=6, submitters=4),
    work=msgspec.structs.replace(SCENARIO.work, jobs=20),
)
FRAME_BYTES = 1 << 14


def slow_link(rate):
    """Return a session with a slow reader, and what keeps its frames."""
    faults = msgspec.structs.replace(
        SMALL.faults, trickling_permille=1000, trickle_bytes_per_s=rate
    )
    world = Run(make_plan(msgspec.structs.replace(SMALL, faults=faults), 1)).world
    dialler, reader = world.machines[:2]
    link = Link(dialler=dialler, listener=reader, ours=1, theirs=2, boots=(0, 0))
    reader.up, reader.sessions[2] = True, link
    return world, link, reader


def test_the_limits_are_those_of_production():
    assert trickle.WINDOW_BYTES == substream.WINDOW_BYTES
    assert trickle.OUTBOX_FRAMES_MAX == control.OUTBOX_FRAMES_MAX
    assert trickle.SEND_NS == stream.SEND_S * NS_PER_S


@pytest.fixture(name="played", scope="module")
def _played():
    return Run(make_plan(SMALL, 2)).play()


def test_every_job_ends_and_no_promise_breaks(played):
    assert played.broken is None
    assert sum(played.measures["states"].values()) == played.measures["jobs"] == 20
    assert played.measures["slow_readers"] == 3
    assert played.measures["unread_longest"] > 1


def test_nobody_else_waits_longer_than_for_the_end_of_a_call(played):
    waits = played.measures["waits_of_others_us"]
    alone = played.measures["waits_of_others_alone_us"]
    assert waits["p50"] < alone["p50"] + BIDS_S * 1_000_000
    assert waits["p90"] < played.measures["waits_of_slow_us"]["p50"]


def test_a_frame_is_read_whole_and_in_its_time():
    world, link, reader = slow_link(rate=FRAME_BYTES)
    read = []
    slow = trickle.Trickle(world.agenda, world.paths, read.append)
    for _ in range(3):
        assert slow.takes((link, reader, bytes(FRAME_BYTES)))
    world.agenda.run(2 * NS_PER_S)
    assert (len(read), slow.longest) == (2, 3)


def test_a_full_window_makes_the_sender_wait_and_a_full_outbox_ends_the_session():
    world, link, reader = slow_link(rate=FRAME_BYTES)
    slow = trickle.Trickle(world.agenda, world.paths, lambda _: None)
    in_window = trickle.WINDOW_BYTES // FRAME_BYTES
    for _ in range(in_window + trickle.OUTBOX_FRAMES_MAX):
        assert slow.overflows(link, reader, FRAME_BYTES) is None
        slow.takes((link, reader, bytes(FRAME_BYTES)))
    assert slow.overflows(link, reader, FRAME_BYTES) == 0
    assert slow.resets == 1


def test_a_frame_that_finds_no_room_in_its_time_ends_the_session():
    world, link, reader = slow_link(rate=1)
    slow = trickle.Trickle(world.agenda, world.paths, lambda _: None)
    while slow.overflows(link, reader, FRAME_BYTES) is None:
        slow.takes((link, reader, bytes(FRAME_BYTES)))
    assert slow.overflows(link, reader, FRAME_BYTES) == trickle.SEND_NS


def test_what_waits_is_read_at_once_when_the_faults_are_healed():
    world, link, reader = slow_link(rate=FRAME_BYTES)
    read = []
    slow = trickle.Trickle(world.agenda, world.paths, read.append)
    for _ in range(9):
        slow.takes((link, reader, bytes(FRAME_BYTES)))
    world.paths.healed = True
    world.agenda.run(NS_PER_S)
    assert len(read) == 9
    assert not slow.takes((link, reader, b"more"))
