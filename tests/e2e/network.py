"""Real nodes and real commands: each one a process, joined over loopback.

Rule: whoever waits here waits for something that happened, a line on a stream or
the end of a process, and never for a time; the deadlines only keep a broken product
from hanging the tests. Every process that is started is ended by its own number.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
DEADLINE_S: Final = 120
"""Far more than anything here takes, on a machine that is busy with other work."""

LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"
NO_SUCH_JOB: Final = 3
NOT_RUN: Final = 125
CANCELLED: Final = 130
TIMED_OUT: Final = 124
USAGE: Final = 2

Document = dict[str, Any]


def _command(home: Path, words: tuple[object, ...], *, as_json: bool) -> list[str]:
    flags = ["--json"] if as_json else []
    prefix = [sys.executable, "-m", "nunet_node", "--home", str(home), *flags]
    return [*prefix, *(str(word) for word in words)]


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUNET", "COV"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    words: tuple[object, ...]
    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """Every line of standard output, each of which must be JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        """The one document of standard output."""
        documents = self.documents
        assert len(documents) == 1, f"{len(documents)} documents: {self}"
        return documents[0]

    def must(self, code: int = 0) -> "Finished":
        """Return this if it ended with ``code``; else fail with all it said."""
        assert self.code == code, f"wanted exit code {code}: {self}"
        assert "Traceback" not in self.err, str(self)
        return self

    def __str__(self) -> str:
        words = " ".join(str(word) for word in self.words)
        return f"{words}\nexit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


class _Lines:
    """The lines of a stream as they come, read by a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line.decode(errors="replace"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._lines)

    def wait(self, wanted: Callable[[str], bool], since: int = 0) -> str | None:
        """Return the first line that is wanted, or None once there can be none."""

        def search() -> bool:
            return self._ended or any(wanted(line) for line in self._lines[since:])

        with self._changed:
            self._changed.wait_for(search, DEADLINE_S)
            return next((line for line in self._lines[since:] if wanted(line)), None)

    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def close(self) -> None:
        self._thread.join(DEADLINE_S)
        self._stream.close()


class Running:
    """A command that runs."""

    def __init__(
        self,
        home: Path,
        words: tuple[object, ...],
        cwd: Path,
        *,
        as_json: bool,
        within: tuple[str, ...] = (),
    ) -> None:
        self.words = words
        self.home = home
        self._process = subprocess.Popen(
            [*within, *_command(home, words, as_json=as_json)],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.out = _Lines(self._process.stdout)
        self.err = _Lines(self._process.stderr)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def told(self, *texts: str) -> str:
        """Wait until it tells people a line with all of ``texts`` in it."""
        line = self.err.wait(lambda line: all(text in line for text in texts))
        assert line is not None, f"never told {texts}: {self}"
        return line

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a goodbye, and wait until it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self.finished()

    def finished(self) -> Finished:
        """Wait for its end."""
        try:
            code = self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"has not ended: {self}") from None
        self.out.close()
        self.err.close()
        return Finished(self.words, code, self.out.text(), self.err.text())

    def __str__(self) -> str:
        words = " ".join(str(word) for word in self.words)
        return f"{words}\nstdout: {self.out.text()}\nstderr: {self.err.text()}"


class Node(Running):
    """A `nunet-node up` that is ready."""

    def __init__(
        self,
        home: Path,
        words: tuple[object, ...],
        cwd: Path,
        within: tuple[str, ...] = (),
    ) -> None:
        super().__init__(home, words, cwd, as_json=True, within=within)
        self.ready = self.event(lambda _: True)
        assert self.ready.get("event") == "ready", str(self)
        self.did: str = self.ready["did"]
        self.address: str = self.ready["addresses"][0]

    def event(self, wanted: Callable[[Document], bool], since: int = 0) -> Document:
        """Return the first event that is wanted, waiting for it."""
        line = self.out.wait(lambda line: wanted(json.loads(line)), since)
        assert line is not None, f"no such event: {self}"
        found: Document = json.loads(line)
        return found

    def moved(self, job: str, state: str) -> Document:
        """Wait until a job of this node is in a state."""
        return self.event(
            lambda event: (
                event["event"] == "job"
                and event["job"] == job
                and event["state"] == state
            )
        )

    def stop(self) -> Finished:
        """Ask it to stop, as a service manager does, and wait."""
        self.signal(signal.SIGTERM)
        return self.finished()


@dataclass
class User:
    """Somebody with a home, at a place in the file system."""

    home: Path
    cwd: Path
    bootstrap: str | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, *words: object, json: bool = True) -> Finished:
        """Run a command to its end."""
        return self.start(*words, json=json).finished()

    def start(self, *words: object, json: bool = True) -> Running:
        """Start a command."""
        running = Running(self.home, words, self.cwd, as_json=json)
        self._stack.callback(running.kill)
        return running

    def finally_(self, undo: Callable[[], None]) -> None:
        """Do something when the user's network ends, before its processes do."""
        self._stack.callback(undo)

    def submit(self, *words: object, json: bool = True) -> Finished:
        """Submit a job to the user's network and wait for its end."""
        return self.run("submit", *self._joined(), *words, json=json)

    def submitting(self, *words: object, json: bool = True) -> Running:
        """Start to submit a job to the user's network."""
        return self.start("submit", *self._joined(), *words, json=json)

    def detached(self, *words: object) -> Document:
        """Submit a job and leave it to itself; return its document."""
        found: Document = self.submit("--detach", *words).must().document
        return found

    def status(self, job: str) -> Document:
        """Return what is known of a job."""
        found: Document = self.run("status", job).must().document
        return found

    def did(self) -> str:
        """Return who the user is."""
        found: str = self.run("did").must().document["did"]
        return found

    def hears(
        self, node: "Node", wanted: Callable[[Document | None], bool]
    ) -> Document | None:
        """Ask who is there until what is heard of a node is as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while not wanted(found := self.heard(node)):
            assert time.monotonic() < deadline, f"still heard: {found}"
        return found

    def heard(self, node: "Node") -> Document | None:
        """Return what the user's network says of a node, if anything."""
        nodes = self.run("nodes", *self._joined()).must().document
        return next((each for each in nodes if each["did"] == node.did), None)

    def write(self, name: str, text: str) -> Path:
        """Write a file where the user's commands run."""
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _joined(self) -> tuple[str, ...]:
        return ("--bootstrap", self.bootstrap) if self.bootstrap else ()


@dataclass
class Network:
    """Processes and homes of one test, or of all; ended with it."""

    directory: Path
    _stack: contextlib.ExitStack
    _count: int = 0

    def user(self, node: Node | None = None, home: Path | None = None) -> User:
        """Return a new user, who joins through ``node``."""
        place = self._place("user")
        address = node.address if node else None
        return User(home or place / "home", place, address, self._stack)

    def finally_(self, undo: Callable[[], None]) -> None:
        """Do something when the network ends."""
        self._stack.callback(undo)

    def node(
        self,
        *words: object,
        home: Path | None = None,
        mdns: bool = False,
        within: tuple[str, ...] = (),
    ) -> Node:
        """Start a node that listens on loopback, and wait until it is ready.

        ``within`` are the words before the command that say where it runs.
        """
        place = self._place("node")
        listen = () if "--listen" in words else ("--listen", LOOPBACK)
        alone = () if mdns else ("--no-mdns",)
        said = ("up", *listen, *alone, *words)
        node = Node(home or place / "home", said, place, within)
        self._stack.callback(node.kill)
        return node

    def provider(
        self,
        *words: object,
        cpus: object = 2,
        memory: str = "1GiB",
        disk: str = "1GiB",
        home: Path | None = None,
    ) -> Node:
        """Start a node that offers what is said, whatever the machine has."""
        offer = ("--cpus", cpus, "--memory", memory, "--disk", disk)
        return self.node(*offer, *words, home=home)

    def _place(self, kind: str) -> Path:
        self._count += 1
        place = self.directory / f"{kind}{self._count}"
        place.mkdir()
        return place


@contextlib.contextmanager
def network(directory: Path) -> Iterator[Network]:
    """Open a network whose processes end with the block."""
    with contextlib.ExitStack() as stack:
        yield Network(directory, stack)
