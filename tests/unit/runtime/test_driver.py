"""Facts before effects, nothing lost to a full disk, and no listener holds us up."""

import pytest
import trio
import trio.testing

from nunet_node.errors import MisuseError
from nunet_node.protocol.effects import (
    CancelTimer,
    CloseSession,
    Drained,
    SetTimer,
    Tell,
)
from nunet_node.protocol.facts import JobStaged
from nunet_node.protocol.inputs import (
    AdvertsHeard,
    FrameRejected,
    JobExited,
    NeighbourFound,
    StoreFilled,
    TimerFired,
)
from nunet_node.protocol.turn import TURNS_MAX, Batch
from nunet_node.runtime import driver as driver_module
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.driver import Driver
from nunet_node.storage.errors import LedgerUnwritableError

FACT = JobStaged(job="j")
NOTHING = Batch(facts=(), effects=())
TOLD = Tell(news=Drained())
OTHER = CancelTimer(name="t")
FRAME = FrameRejected(session=3, frame=1, re=None, code="c", reason="r")
EXIT = JobExited(job="j", attempt=1, exit_code=0)


class Log(list):
    """What happened, and a way to wait for more of it."""

    def __init__(self):
        super().__init__()
        self.grew = trio.Event()

    def append(self, item):
        super().append(item)
        self.grew.set()
        self.grew = trio.Event()

    async def until(self, item, count=1):
        with trio.fail_after(30):
            while self.count(item) < count:
                await self.grew.wait()


class Machine:
    """A node that answers each input as it is told to, and writes down what comes."""

    def __init__(self, log, answers):
        self.log = log
        self.answers = answers
        self.joined = 0

    def handle(self, event, now, *, joins=False):
        self.joined = self.joined + 1 if joins else 1
        self.log.append(event)
        answer = self.answers.get(type(event), NOTHING)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def undo(self, turns=1):
        assert 1 <= turns <= self.joined
        self.joined -= turns
        self.log.append("undo" if turns == 1 else f"undo {turns}")


class Memory:
    """A journal on a disk that may be full."""

    def __init__(self, log):
        self.log = log
        self.full = False
        self.spare = False
        """Whether room is kept for a full disk."""
        self.room = True

    def append(self, facts):
        if self.full:
            raise LedgerUnwritableError("the disk is full")
        # From a worker thread, which must not wake tasks; the effects will.
        list.append(self.log, tuple(facts))

    def relieve(self):
        relieved, self.spare = self.spare, False
        self.full = self.full and not relieved
        return relieved

    def has_room(self):
        return self.room

    def is_writable(self):
        return not self.full and self.room


class Rig:
    """A driver with everything around it in one log."""

    def __init__(self, answers=None):
        self.log = Log()
        self.memory = Memory(self.log)
        self.machine = Machine(self.log, answers or {})
        self.driver = Driver(self.machine, self.memory, Clock())

    def perform(self, effect):
        self.log.append(effect)
        if isinstance(effect, Tell):
            self.driver.publish(effect.news)
        if isinstance(effect, SetTimer):
            self.driver.timers.set(effect.name, effect.at_ns)

    def start(self, nursery):
        nursery.start_soon(self.driver.run, self.perform)


async def test_facts_are_written_before_effects_are_performed(nursery):
    rig = Rig({AdvertsHeard: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.start(nursery)
    event = AdvertsHeard(adverts=())
    await rig.driver.tell(event)
    assert rig.log == [event, (FACT,), TOLD]


async def test_an_input_without_facts_writes_nothing(nursery):
    rig = Rig({AdvertsHeard: Batch(facts=(), effects=(TOLD,))})
    rig.memory.full = True
    rig.start(nursery)
    await rig.driver.tell(AdvertsHeard(adverts=()))
    assert rig.log[-1] == TOLD


async def test_a_timer_comes_back_as_an_input(nursery, autojump_clock):
    rig = Rig(
        {
            AdvertsHeard: Batch(
                facts=(), effects=(SetTimer(name="t", at_ns=3_000_000_000),)
            )
        }
    )
    rig.start(nursery)
    await rig.driver.tell(AdvertsHeard(adverts=()))
    await trio.sleep(4)
    assert rig.log[-1] == TimerFired(name="t")


async def test_a_full_disk_takes_back_the_input_and_performs_nothing(nursery):
    rig = Rig({AdvertsHeard: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.memory.full = True
    rig.start(nursery)
    event = AdvertsHeard(adverts=())
    with pytest.raises(LedgerUnwritableError):
        await rig.driver.tell(event)
    await rig.log.until(StoreFilled(full=True))
    assert rig.log == [event, "undo", StoreFilled(full=True)]


async def test_a_frame_that_cannot_be_kept_ends_its_session(nursery):
    rig = Rig({FrameRejected: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.memory.full = True
    rig.start(nursery)
    await rig.driver.post(FRAME)
    await rig.log.until(StoreFilled(full=True))
    assert CloseSession(session=3) in rig.log
    assert TOLD not in rig.log


async def test_what_happened_while_the_disk_was_full_is_told_again(
    nursery, monkeypatch
):
    monkeypatch.setattr(driver_module, "PROBE_S", 0.01)
    rig = Rig({JobExited: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.memory.full = True
    rig.start(nursery)
    await rig.driver.post(EXIT)
    await rig.log.until(StoreFilled(full=True))
    assert TOLD not in rig.log
    rig.memory.full = False
    await rig.log.until(TOLD)
    assert rig.log[-3:] == [EXIT, (FACT,), TOLD]
    assert StoreFilled(full=False) in rig.log


async def test_a_disk_that_fills_twice_is_told_of_twice(nursery, monkeypatch):
    monkeypatch.setattr(driver_module, "PROBE_S", 0.01)
    rig = Rig({JobExited: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.start(nursery)
    for round_number in (1, 2):
        rig.memory.full = True
        await rig.driver.post(EXIT)
        await rig.log.until(StoreFilled(full=True), round_number)
        rig.memory.full = False
        await rig.log.until(TOLD, round_number)
    said = [event.full for event in rig.log if isinstance(event, StoreFilled)]
    assert said == [True, False, True, False]


async def test_a_disk_that_is_nearly_full_is_told_of_before_it_is_full(
    nursery, monkeypatch
):
    monkeypatch.setattr(driver_module, "LOOK_S", 0.01)
    monkeypatch.setattr(driver_module, "PROBE_S", 0.01)
    rig = Rig({})
    rig.memory.room = False
    rig.start(nursery)
    await rig.log.until(StoreFilled(full=True))
    rig.memory.room = True
    await rig.log.until(StoreFilled(full=False))
    said = [event.full for event in rig.log if isinstance(event, StoreFilled)]
    assert said == [True, False]


async def test_what_ends_jobs_is_recorded_in_the_room_that_was_kept(
    nursery, monkeypatch
):
    monkeypatch.setattr(driver_module, "PROBE_S", 0.01)
    rig = Rig({JobExited: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.memory.full = rig.memory.spare = True
    rig.memory.room = False
    rig.start(nursery)
    await rig.driver.post(EXIT)
    await rig.log.until(TOLD)
    assert StoreFilled(full=True) in rig.log
    assert StoreFilled(full=False) not in rig.log


@pytest.mark.parametrize("bug", [MisuseError("a bug"), KeyError("a worse one")])
async def test_an_input_that_breaks_the_node_is_dropped_alone(nursery, caplog, bug):
    rig = Rig({NeighbourFound: bug})
    rig.start(nursery)
    with pytest.raises(type(bug)):
        await rig.driver.tell(NeighbourFound(peer_id="p"))
    await rig.driver.tell(AdvertsHeard(adverts=()))
    assert rig.log[1:] == ["undo", AdvertsHeard(adverts=())]
    assert "NeighbourFound" in caplog.text


async def test_inputs_that_wait_are_written_together_and_done_in_order(nursery):
    second = JobStaged(job="k")
    rig = Rig(
        {
            AdvertsHeard: Batch(facts=(FACT,), effects=(TOLD,)),
            JobExited: Batch(facts=(second,), effects=(OTHER,)),
        }
    )
    await rig.driver.post(AdvertsHeard(adverts=()))
    await rig.driver.post(FRAME)
    await rig.driver.post(EXIT)
    rig.start(nursery)
    await rig.log.until(OTHER)
    heard = AdvertsHeard(adverts=())
    assert rig.log == [heard, FRAME, EXIT, (FACT, second), TOLD, OTHER]


async def test_no_more_are_written_together_than_can_be_taken_back(nursery):
    rig = Rig({JobExited: Batch(facts=(FACT,), effects=(TOLD,))})
    for _ in range(TURNS_MAX + 1):
        await rig.driver.post(EXIT)
    rig.start(nursery)
    await rig.log.until(TOLD, TURNS_MAX + 1)
    written = [each for each in rig.log if isinstance(each, tuple)]
    assert [len(facts) for facts in written] == [TURNS_MAX, 1]


async def test_what_is_done_between_two_inputs_finds_nothing_pending(nursery):
    rig = Rig({JobExited: Batch(facts=(FACT,), effects=(TOLD,))})
    await rig.driver.post(EXIT)
    nursery.start_soon(rig.driver.between, lambda: rig.log.append("done"))
    await trio.testing.wait_all_tasks_blocked()
    await rig.driver.post(EXIT)
    rig.start(nursery)
    await rig.log.until(TOLD, 2)
    assert rig.log == [EXIT, (FACT,), TOLD, "done", EXIT, (FACT,), TOLD]


async def test_a_bad_input_spoils_none_of_those_it_waited_with(nursery, caplog):
    rig = Rig(
        {
            JobExited: Batch(facts=(FACT,), effects=(TOLD,)),
            FrameRejected: KeyError("a bug"),
        }
    )
    for event in (EXIT, FRAME, EXIT):
        await rig.driver.post(event)
    rig.start(nursery)
    await rig.log.until(TOLD, 2)
    ended = CloseSession(session=3)
    kept = [EXIT, (FACT,), TOLD]
    assert rig.log == [EXIT, FRAME, "undo", (FACT,), TOLD, ended, *kept]
    assert "FrameRejected" in caplog.text


async def test_a_full_disk_takes_back_all_that_would_have_been_written(nursery):
    rig = Rig(
        {
            JobExited: Batch(facts=(FACT,), effects=(TOLD,)),
            FrameRejected: Batch(facts=(), effects=(TOLD,)),
            AdvertsHeard: Batch(facts=(), effects=(OTHER,)),
        }
    )
    rig.memory.full = True
    heard = AdvertsHeard(adverts=())
    for event in (EXIT, FRAME, heard):
        await rig.driver.post(event)
    rig.start(nursery)
    await rig.log.until(StoreFilled(full=True))
    # The frame's answer might have leaned on the facts; what was heard leans on none.
    closed = CloseSession(session=3)
    filled = StoreFilled(full=True)
    assert rig.log == [EXIT, FRAME, heard, "undo 3", closed, OTHER, filled]


async def test_a_journal_that_breaks_ends_the_sessions_of_all_that_waited(
    nursery, caplog
):
    rig = Rig({FrameRejected: Batch(facts=(FACT,), effects=(TOLD,))})
    rig.memory.append = lambda _facts: 1 / 0
    await rig.driver.post(FRAME)
    await rig.driver.post(FRAME)
    rig.start(nursery)
    await rig.log.until(CloseSession(session=3), 2)
    assert "undo 2" in rig.log
    assert TOLD not in rig.log
    assert "2 inputs were dropped" in caplog.text


async def test_something_can_be_done_between_two_inputs(nursery):
    rig = Rig()
    rig.start(nursery)
    await rig.driver.between(lambda: rig.log.append("done"))
    assert rig.log == ["done"]


async def test_every_listener_hears_everything_from_when_it_listens(nursery):
    rig = Rig()
    first = rig.driver.subscribe()
    rig.driver.publish("one")
    second = rig.driver.subscribe()
    rig.driver.publish("two")
    assert [first.receive_nowait(), first.receive_nowait()] == ["one", "two"]
    assert second.receive_nowait() == "two"


async def test_a_listener_that_does_not_keep_up_is_dropped(nursery, caplog):
    rig = Rig()
    slow, quick = rig.driver.subscribe(1), rig.driver.subscribe()
    for number in range(3):
        rig.driver.publish(number)
    assert [each async for each in slow] == [0]
    assert [quick.receive_nowait() for _ in range(3)] == [0, 1, 2]
    assert "does not keep up" in caplog.text


async def test_a_listener_that_left_is_forgotten(nursery):
    rig = Rig()
    rig.driver.subscribe().close()
    rig.driver.publish("x")
    assert rig.driver._listeners == []


async def test_effects_before_the_driver_runs_are_our_own_bug(nursery):
    driver = Driver(Machine([], {}), Memory([]), Clock())
    with pytest.raises(MisuseError):
        driver._perform(TOLD)


async def test_posting_waits_for_a_place_in_the_queue(monkeypatch, autojump_clock):
    monkeypatch.setattr(driver_module, "INPUTS_MAX", 2)
    rig = Rig()
    await rig.driver.post(EXIT)
    await rig.driver.post(EXIT)
    with trio.move_on_after(10) as waiting:
        await rig.driver.post(EXIT)
    assert waiting.cancelled_caught
