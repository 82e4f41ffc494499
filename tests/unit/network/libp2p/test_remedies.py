"""Every trap of the library is held by a test, and the table knows them all."""

import logging
import re
from importlib import import_module
from importlib.util import find_spec
from inspect import getsource
from operator import attrgetter
from pathlib import Path

import pytest
import trio
from libp2p.network.connection import swarm_connection
from libp2p.tools.anyio_service import Service
from libp2p.tools.anyio_service.trio_manager import TrioManager

from nunet_node.errors import MisuseError
from nunet_node.network.libp2p import remedies
from tests.mutation.removals import REMOVALS, ROOM

TESTS = Path(__file__).parents[3]

HELD_BY = {
    "P1": "test_hostile_gossip_is_dropped_and_the_host_goes_on",
    "P2": "test_a_validator_that_raises_has_said_no",
    "P3": "test_hostile_gossip_is_dropped_and_the_host_goes_on",
    "P4": "test_a_burst_of_messages_arrives_whole",
    "P5": "test_a_service_outlives_what_its_tasks_raise",
    "P6": "test_a_burst_of_messages_arrives_whole",
    "P7": "test_the_mesh_is_mended_every_second",
    "P8": "test_a_restart_does_not_use_sequence_numbers_again",
    "P9": "test_a_pruning_peer_makes_us_dial_nobody",
    "P10": "test_records_do_not_grow_with_messages",
    "H1": "test_a_handler_that_raises_breaks_its_own_stream_and_no_other",
    "C1": "test_cancelled_writes_leave_the_connection_whole",
    "C2": "test_a_reader_may_pause_for_long",
    "C3": "test_a_peer_that_stops_reading_does_not_block_disconnecting",
    "C4": "test_a_connection_is_closed_at_once",
    "X1": "test_a_peer_that_offers_only_plaintext_is_refused",
    "S1": "test_leaving_the_host_closes_its_connections",
    "S2": "test_many_visits_use_up_no_places",
    "Y1": "test_a_peer_that_sends_more_than_it_was_granted_is_cut_off",
    "Y2": "test_further_streams_than_a_connection_carries_are_reset",
    "Y3": "test_a_reset_is_not_an_end",
    "Y4": "test_the_last_words_of_a_peer_that_leaves_are_heard",
    "W1": "test_a_frame_in_many_small_pieces_arrives_whole",
    "W2": "test_credit_is_granted_in_few_large_pieces",
    "D1": "test_a_connection_waits_for_no_second_address",
    "D2": "test_a_peer_that_was_down_is_reached_as_soon_as_it_is_up",
    "D4": "test_every_address_of_a_peer_is_tried",
    "A1": "test_what_a_peer_claims_of_itself_is_neither_asked_for_nor_dialled",
    "R1": "test_a_port_that_another_process_holds_is_in_use",
    "L1": "test_the_library_speaks_through_its_own_logger_alone",
    "N1": "test_a_peer_that_dies_is_noticed",
    "N3": "test_connections_that_never_prove_themselves_do_not_lock_others_out",
    "N4": "test_frames_of_two_writers_do_not_mix",
}


def test_every_trap_has_one_name():
    traps = [remedy.trap for remedy in remedies.REMEDIES]
    assert len(traps) == len(set(traps))


def test_every_trap_is_held_by_a_test():
    text = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    written = set(re.findall(r"def (test_\w+)", text))
    assert set(HELD_BY) == {remedy.trap for remedy in remedies.REMEDIES}
    assert set(HELD_BY.values()) <= written


@pytest.mark.parametrize("remedy", remedies.REMEDIES, ids=lambda r: r.trap)
def test_a_remedy_stands_where_the_table_says_under_its_traps_name(remedy):
    module, _, name = remedy.place.partition(".")
    rooms = ("nunet_node.network.libp2p", "nunet_node.network")
    found = next(f"{room}.{module}" for room in rooms if find_spec(f"{room}.{module}"))
    place = attrgetter(name)(import_module(found))
    assert re.search(rf"\b{remedy.trap}\b", getsource(place))


def test_every_remedy_can_be_taken_out_to_see_its_test_fail():
    assert {removal.trap for removal in REMOVALS} == set(HELD_BY)
    for edit in (edit for removal in REMOVALS for edit in removal.edits):
        text = (TESTS.parent / ROOM / edit.file).read_text()
        assert text.count(edit.old) == 1, edit


def test_another_version_of_the_library_is_refused(monkeypatch):
    remedies.install.cache_clear()
    monkeypatch.setattr(remedies, "version", lambda _: "0.9.0")
    with pytest.raises(MisuseError, match=r"0\.9\.0.*0\.8\.1"):
        remedies.install()
    monkeypatch.undo()
    remedies.install()


async def test_a_connection_is_closed_at_once():
    remedies.install()
    with trio.fail_after(60):
        # What the library sleeps is counted in turns, however long it means to.
        await swarm_connection.trio.sleep(1e9)
    assert swarm_connection.trio.Event is trio.Event


def test_the_library_speaks_through_its_own_logger_alone():
    remedies.install()
    logger = logging.getLogger("libp2p")
    assert logger.propagate
    assert logger.level == logging.CRITICAL
    # One module calls what installs a handler that prints to stderr.
    assert swarm_connection.logging is logger


class Gossiping(Service):
    """A service with the tasks that stopping gossip amid messages makes."""

    def __init__(self):
        self.tries = 0

    async def run(self):
        self.manager.run_task(self.take_in)
        self.manager.run_daemon_task(self.beat)
        await self.manager.wait_finished()

    async def take_in(self):
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("Nursery is closed to new arrivals")

    async def beat(self):
        self.tries += 1
        if self.tries == 1:
            raise ValueError("a message that nobody expected")
        await trio.sleep_forever()


async def test_a_service_outlives_what_its_tasks_raise(autojump_clock):
    service = Gossiping()
    async with remedies.run_service(service):
        await trio.sleep(60)
        assert service.manager.is_running
        # What must run for ever has been started again.
        assert service.tries == 2
    assert service.manager.is_finished


async def test_without_the_remedy_a_task_that_raises_stops_the_host(monkeypatch):
    monkeypatch.setattr(remedies, "SafeManager", TrioManager)
    with pytest.raises(ExceptionGroup) as caught:
        async with remedies.run_service(Gossiping()):
            await trio.sleep_forever()
    assert caught.group_contains(ValueError, match="nobody expected")
