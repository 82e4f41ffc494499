"""Standard output and standard error of a node, which no reader can hold up.

Rule: whoever runs a node may stop reading what it says, and nothing stops but the
saying. A pipe holds 64 KiB and then makes its writer wait (pipe(7)), which in the
event loop would be the whole node; so lines are handed to a thread that writes them.
Those for which there is no room are dropped, and a line in their place counts them.
"""

import contextlib
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

LINES_MAX: Final = 4096
"""Lines that wait for a reader: a burst of some hundred jobs, in a few megabytes."""

GRACE_S: Final = 1.0
"""How long the end of the process waits for a reader: one that reads at all takes a
thousand lines in that time, and one that does not must not keep the process."""

RETRY_S: Final = 1.0
"""How often a descriptor is tried that somebody else made non-blocking."""

Dropped = Callable[[int], str]
"""Returns the line that says how many lines are missing."""


class Feed(io.TextIOBase):
    """A text stream whose writing never waits and never fails; threads may share it.

    Each `write` is taken whole or dropped whole, so that lines stay lines.
    """

    def __init__(self, descriptor: int, dropped: Dropped) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._gone = False
        self._ending = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._run, name="feed", daemon=True)
        self._writer.start()

    def write(self, text: str, /) -> int:
        """Take some text to be written, or count it as dropped."""
        with self._changed:
            if self._gone or len(self._lines) >= LINES_MAX:
                self._dropped += 1
            else:
                self._say_dropped()
                self._lines.append(text)
                self._changed.notify()
        return len(text)

    def writable(self) -> bool:
        """Tell that this is a stream to write to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that is written to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether a person may be reading."""
        return os.isatty(self._descriptor)

    def finish(self) -> None:
        """Wait `GRACE_S` at most until everything was read; forget the rest."""
        with self._changed:
            self._say_dropped()
            self._ending = True
            self._changed.notify()
        self._writer.join(GRACE_S)

    def _say_dropped(self) -> None:
        if self._dropped:
            self._lines.append(self._dropped_line(self._dropped) + "\n")
            self._dropped = 0

    def _run(self) -> None:
        while lines := self._take():
            try:
                _write_all(self._descriptor, "".join(lines).encode(errors="replace"))
            except BrokenPipeError:
                self._gone = True
                return
            except OSError:
                # A full disk, perhaps; later lines may fit again.
                with self._changed:
                    self._dropped += len(lines)

    def _take(self) -> list[str]:
        with self._changed:
            while not self._lines and not self._ending:
                self._changed.wait()
            # Not all at once: what a slow reader leaves must count as waiting.
            return [self._lines.popleft() for _ in range(min(64, len(self._lines)))]


@contextlib.contextmanager
def unhindered(*, as_json: bool) -> Iterator[None]:
    """Let whatever is printed within the block go through feeds.

    Args:
        as_json: whether standard output is to hold JSON documents alone.
    """

    def sentence(count: int) -> str:
        return f"{count} lines are missing here: nobody read them in time"

    def document(count: int) -> str:
        return msgspec.json.encode({"event": "dropped", "lines": count}).decode()

    with contextlib.ExitStack() as stack:
        for name, stream, said in (
            ("stdout", sys.stdout, document if as_json else sentence),
            ("stderr", sys.stderr, sentence),
        ):
            try:
                descriptor = stream.fileno()
            except (AttributeError, OSError):
                continue  # Closed, or a program's own stream that is no file.
            stream.flush()
            feed = Feed(descriptor, said)
            redirect = getattr(contextlib, f"redirect_{name}")
            stack.callback(feed.finish)
            stack.enter_context(redirect(feed))
        yield


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll(RETRY_S * 1000)
