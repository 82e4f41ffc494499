"""The processes of a run on real nodes: begun, listened to, killed, begun again.

Rule: whatever happens, no process outlives the run. What a process prints is one
JSON document a line; each is handed on with the moment at which it was read.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.simulator.world.machine import Machine

START_S: Final = 120
"""How long a node may take to start beside fifty others on two processors."""

STOP_S: Final = 20
"""How long all of them together may take to say goodbye before they are killed."""

LINE_BYTES_MAX: Final = 1 << 20
"""Longest line; real ones have a few hundred bytes."""

Said = Callable[[Machine, Mapping[str, Any], int], None]
"""Called with whose, what and when."""


class RealNodeError(PeerError):
    """A real node of a run did not start."""

    code = "simulator.real"


@dataclass(slots=True, eq=False)
class Child:
    """A machine's process."""

    machine: Machine
    process: trio.Process
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The newest document of each kind of event."""
    over: bool = False
    _news: trio.Event = field(default_factory=trio.Event)

    async def until(self, event: str, patience_s: float) -> Mapping[str, Any]:
        """Wait for a document of this kind and return it.

        Raises:
            RealNodeError: the process ended, or took too long.
        """
        with trio.move_on_after(patience_s):
            while event not in self.seen and not self.over:
                await self._news.wait()
        if event not in self.seen:
            raise RealNodeError(f"{self.machine.name} never said {event!r}")
        return self.seen[event]

    def hear(self, document: Mapping[str, Any]) -> None:
        """Take one document; an empty one is the end."""
        self.over = not document
        self.seen[document.get("event", "")] = document
        news, self._news = self._news, trio.Event()
        news.set()


@dataclass(slots=True)
class Processes:
    """All processes of a run."""

    homes: Path
    said: Said
    nursery: trio.Nursery
    children: dict[int, Child] = field(default_factory=dict)
    """The newest process of each machine, by its index."""
    _all: list[trio.Process] = field(default_factory=list)

    def machine_at(self, pid: int) -> Machine | None:
        """Return whose process this is."""
        found = (c.machine for c in self.children.values() if c.process.pid == pid)
        return next(found, None)

    def pids(self) -> list[int]:
        """Return the processes that run."""
        living = (child.process for child in self.children.values())
        return [process.pid for process in living if process.returncode is None]

    async def begin(self, machine: Machine, words: Sequence[str]) -> Child:
        """Begin a Python module as this machine's process."""
        log = self.homes / f"{machine.name}.log"
        with log.open("ab") as errors:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for the run, which then stops them in order.
                start_new_session=True,
            )
        child = Child(machine=machine, process=process)
        self._all.append(process)
        self.children[machine.index] = child
        self.nursery.start_soon(self._listen, child)
        return child

    async def tell(self, child: Child, document: msgspec.Struct) -> None:
        """Write one line to a process."""
        if child.process.stdin is not None:
            await child.process.stdin.send_all(msgspec.json.encode(document) + b"\n")

    def kill(self, machine: Machine) -> None:
        """End a machine's process at once."""
        child = self.children.get(machine.index)
        if child is not None and child.process.returncode is None:
            child.process.kill()

    def pause(self, machine: Machine) -> None:
        """Stop a machine's process where it is; its jobs go on."""
        self._signal(machine, signal.SIGSTOP)

    def go_on(self, machine: Machine) -> None:
        """Let a process that was paused go on."""
        self._signal(machine, signal.SIGCONT)

    async def stop(self) -> None:
        """End all processes, in order if they let us."""
        living = [each for each in self._all if each.poll() is None]
        for process in living:
            process.send_signal(signal.SIGTERM)
            # One that is paused hears of it only when it goes on.
            process.send_signal(signal.SIGCONT)
        with trio.move_on_after(STOP_S):
            for process in living:
                await process.wait()
        for process in living:
            if process.poll() is None:
                process.kill()
                await process.wait()

    def _signal(self, machine: Machine, number: signal.Signals) -> None:
        child = self.children.get(machine.index)
        if child is not None and child.process.poll() is None:
            child.process.send_signal(number)

    async def _listen(self, child: Child) -> None:
        waiting, stdout = b"", child.process.stdout
        while stdout is not None and (piece := await stdout.receive_some()):
            at_ns = time.monotonic_ns()
            *lines, waiting = (waiting + piece).split(b"\n")
            for line in lines:
                document = msgspec.json.decode(line)
                child.hear(document)
                self.said(child.machine, document, at_ns)
            if len(waiting) > LINE_BYTES_MAX:
                break
        child.hear({})
        await child.process.wait()
