"""The one task that owns the node: inputs in, facts down, effects out.

Rule: the facts of an input are on disk before any of its effects is performed, so
that nothing is ever said that a crash could unsay. Inputs that wait are decided one
after the other and their facts are written together, for the price of one sync
(group commit: DeWitt et al., 1984). Performing an effect never waits; what takes time
runs in a task of its own and comes back as an input. Inputs whose facts cannot be
written are taken back whole.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from nunet_node.errors import MisuseError
from nunet_node.protocol.effects import CloseSession, Effect, News
from nunet_node.protocol.facts import Fact
from nunet_node.protocol.inputs import (
    FrameReceived,
    FrameRejected,
    Input,
    StoreFilled,
    TimerFired,
)
from nunet_node.protocol.turn import TURNS_MAX, Batch
from nunet_node.quantities import Now
from nunet_node.runtime.clock import Clock, Timers
from nunet_node.storage.errors import LedgerUnwritableError

INPUTS_MAX: Final = 1024
"""Inputs that wait for the node: at a few thousand a second that is some hundred
milliseconds of work; whoever brings more waits for its turn."""

HELD_MAX: Final = 16_384
"""Inputs kept while the disk is full. They come from our own jobs and timers, which
are bounded; more means a loop, and losing them would be worse than stopping."""

NEWS_MAX: Final = 65_536
"""News that one listener may leave unread before it is dropped."""

PROBE_S: Final = 1.0
"""How often a disk that was full is tried again."""

LOOK_S: Final = 5.0
"""How often it is looked at whether the disk is about to be full."""

_log = logging.getLogger("nunet_node.runtime.driver")


class Machine(Protocol):
    """What the driver needs of the protocol's node."""

    def handle(self, event: Input, now: Now, /, *, joins: bool = False) -> Batch:
        """Decide what follows from one input; tell whether others are pending."""

    def undo(self, turns: int = 1, /) -> None:
        """Take the facts of the last so many calls of `handle` back."""


class Memory(Protocol):
    """What the driver needs of the journals."""

    def append(self, facts: Sequence[Fact], /) -> None:
        """Record facts durably; blocks."""

    def is_writable(self) -> bool:
        """Tell whether a disk that was full has room again; blocks."""

    def has_room(self) -> bool:
        """Tell whether the disk has room for new work; blocks."""

    def relieve(self) -> bool:
        """Make room for what ends work, if some was kept for that; blocks."""


@dataclass(slots=True, eq=False)
class _Waiter:
    done: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    event: Input | Callable[[], None]
    """An input, or something to be done between two of them."""
    waiter: _Waiter | None = None

    def done(self) -> None:
        """Let whoever waits for it go on."""
        if self.waiter is not None:
            self.waiter.done.set()


@dataclass(frozen=True, slots=True)
class _Decided:
    """An input, and what follows from it once its facts are on disk."""

    item: _Item
    event: Input
    batch: Batch


class Driver:
    """Owns a node. Run it in a task; tell it inputs from any other."""

    def __init__(
        self,
        node: Machine,
        memory: Memory,
        clock: Clock,
    ) -> None:
        self._node = node
        self._memory = memory
        self._perform: Callable[[Effect], None] = _lose
        self.clock = clock
        self.timers = Timers(clock)
        self._inbox, self._outbox = trio.open_memory_channel[_Item](INPUTS_MAX)
        self._held: deque[Input] = deque()
        self._full = trio.Event()
        self._relieved = False
        """Whether room was made for what ends work since the disk was full."""
        self._listeners: list[trio.MemorySendChannel[News]] = []

    async def post(self, event: Input) -> None:
        """Hand over an input; waits for a place in the queue, not for its effects."""
        await self._inbox.send(_Item(event))

    async def tell(self, event: Input) -> None:
        """Hand over an input; return once its facts are durable, its effects begun.

        Raises:
            LedgerUnwritableError: the disk cannot take it; nothing happened.
        """
        await self._wait_for(event)

    async def between(self, act: Callable[[], None]) -> None:
        """Do something to the node while it handles no input; return when done."""
        await self._wait_for(act)

    async def _wait_for(self, event: Input | Callable[[], None]) -> None:
        waiter = _Waiter()
        await self._inbox.send(_Item(event, waiter))
        await waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error

    def subscribe(self, news_max: int = NEWS_MAX) -> trio.MemoryReceiveChannel[News]:
        """Return a channel of all news from now on.

        A listener that leaves more than ``news_max`` unread finds its channel ended.
        """
        sender, receiver = trio.open_memory_channel[News](news_max)
        self._listeners.append(sender)
        return receiver

    def publish(self, news: News) -> None:
        """Give news to every listener."""
        for listener in tuple(self._listeners):
            try:
                listener.send_nowait(news)
            except trio.WouldBlock:
                _log.warning("a listener does not keep up, and is dropped")
                self._drop(listener)
            except trio.BrokenResourceError:
                self._drop(listener)

    async def run(self, perform: Callable[[Effect], None]) -> None:
        """Take inputs one after the other; never returns.

        Args:
            perform: carries an effect out, or begins to; it must not wait.
        """
        self._perform = perform
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timers.run, self._fire)
            nursery.start_soon(self._watch_disk)
            async for item in self._outbox:
                await self._take(item)

    async def _fire(self, name: str) -> None:
        await self.post(TimerFired(name=name))

    async def _take(self, item: _Item) -> None:
        """Take this item and what waits behind it, as far as one sync reaches."""
        turns: list[_Decided] = []
        after: Callable[[], None] | None = None
        following: _Item | None = item
        while following is not None:
            after = self._decide(following, turns)
            full = len(turns) >= TURNS_MAX
            following = None if full or after is not None else self._waiting()
        await self._keep(turns)
        if after is not None:
            after()

    def _waiting(self) -> _Item | None:
        try:
            return self._outbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return None

    def _decide(self, item: _Item, turns: list[_Decided]) -> Callable[[], None] | None:
        """Add what follows from an input to the turns.

        Returns:
            What is to be done once those turns are kept, and nothing is pending: an
            act between two inputs, or the refusal of an input that failed.
        """
        if callable(item.event):
            return partial(self._act, item, item.event)
        try:
            batch = self._node.handle(item.event, self.clock.now(), joins=bool(turns))
        except Exception as error:  # noqa: BLE001 - shown in the log
            # One bad input, or a bug that it finds, must not stop the node for
            # everybody else; what it began is taken back.
            self._node.undo()
            _log.exception("an input was dropped: %s", type(item.event).__name__)
            return partial(self._refuse, item, error)
        turns.append(_Decided(item, item.event, batch))
        return None

    def _act(self, item: _Item, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - shown in the log
            _log.exception("not done between two inputs")
            self._refuse(item, error)
        else:
            item.done()

    async def _keep(self, turns: Sequence[_Decided]) -> None:
        """Write the facts of some turns, and perform their effects in order."""
        facts = [fact for turn in turns for fact in turn.batch.facts]
        try:
            if facts:
                await trio.to_thread.run_sync(self._memory.append, facts)
        except LedgerUnwritableError as error:
            self._node.undo(len(turns))
            await self._give_back(turns, error)
        except Exception as error:  # noqa: BLE001 - shown in the log
            _log.exception("%d inputs were dropped", len(turns))
            self._node.undo(len(turns))
            for turn in turns:
                self._refuse(turn.item, error)
        except BaseException:
            self._node.undo(len(turns))
            raise
        else:
            for turn in turns:
                self._carry_out(turn)

    def _carry_out(self, turn: _Decided) -> None:
        try:
            for effect in turn.batch.effects:
                self._perform(effect)
        except Exception as error:  # noqa: BLE001 - shown in the log
            _log.exception("not done: what follows from %s", type(turn.event).__name__)
            self._refuse(turn.item, error)
        else:
            turn.item.done()

    def _refuse(self, item: _Item, error: Exception) -> None:
        if item.waiter is not None:
            item.waiter.error = error
            item.waiter.done.set()
        elif isinstance(item.event, FrameReceived | FrameRejected):
            # The peer sees its session end, and asks again when it likes.
            self._perform(CloseSession(session=item.event.session))

    async def _give_back(
        self, turns: Sequence[_Decided], error: LedgerUnwritableError
    ) -> None:
        if not self._full.is_set():
            _log.error("%s; no new work until there is room", error)
        self._relieved |= await trio.to_thread.run_sync(self._memory.relieve)
        for turn in turns:
            from_peer = isinstance(turn.event, FrameReceived | FrameRejected)
            if not turn.batch.facts and not from_peer:
                # It happened, and there was nothing to keep of it.
                self._carry_out(turn)
            elif turn.item.waiter is not None or from_peer:
                # The answer to a frame may lean on what was just taken back.
                self._refuse(turn.item, error)
            elif len(self._held) >= HELD_MAX:
                raise error
            else:
                self._held.append(turn.event)
        if not self._full.is_set():
            self._full.set()
            await self._say_full()

    async def _say_full(self) -> None:
        batch = self._node.handle(StoreFilled(full=True), self.clock.now())
        try:
            if batch.facts:
                await trio.to_thread.run_sync(self._memory.append, batch.facts)
        except LedgerUnwritableError:
            self._node.undo()
            _log.debug("what follows from a full disk cannot be written either")
            return
        for effect in batch.effects:
            self._perform(effect)

    async def _watch_disk(self) -> None:
        while True:
            with trio.move_on_after(LOOK_S):
                await self._full.wait()
            if self._full.is_set():
                await self._wait_for_room()
            elif not await trio.to_thread.run_sync(self._memory.has_room):
                _log.error("the disk is nearly full; no new work until there is room")
                self._full.set()
                await self.post(StoreFilled(full=True))

    async def _wait_for_room(self) -> None:
        if self._relieved:
            # There is room now for what ends jobs, and some may wait for it.
            self._relieved = False
            await self._tell_held()
        await trio.sleep(PROBE_S)
        if await trio.to_thread.run_sync(self._memory.is_writable):
            _log.warning("the disk has room again")
            self._full = trio.Event()
            await self.post(StoreFilled(full=False))
            await self._tell_held()

    async def _tell_held(self) -> None:
        held, self._held = self._held, deque()
        for event in held:
            await self.post(event)

    def _drop(self, listener: trio.MemorySendChannel[News]) -> None:
        self._listeners.remove(listener)
        listener.close()


def _lose(effect: Effect) -> None:
    raise MisuseError(f"nobody carries out {type(effect).__name__}")
