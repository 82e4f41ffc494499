"""Moments that are usually too short to meet: preparing, starting and storing.

Rule: a moment is held open by what the product itself waits for, a file lock or much
to store, so that each test meets it for sure.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from wasmtime import wat2wasm

from nunet_node.client import JobFile, open_client
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.effects import OrderChanged
from tests.e2e.held import need_process
from tests.e2e.network import DEADLINE_S, Network, Node, User

STORED_BYTES = 300 << 20
"""Takes a second and more to seal and store, and a cancel some round trips."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the nodes of a test keep what they compile, empty."""
    place = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    found = place / "nunet-node"
    found.mkdir(mode=0o700, parents=True)
    return found


@contextmanager
def nobody_compiles(cache: Path, what: str) -> Iterator[None]:
    """Keep every node from compiling for as long as the block."""
    lock = os.open(cache / f"{what}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _all_is_free(user: User, node: Node) -> None:
    user.hears(
        node, lambda heard: heard is not None and heard["free"] == heard["total"]
    )


def test_a_job_waits_for_an_engine_that_is_being_prepared(net: Network, cache: Path):
    with nobody_compiles(cache, "python"):
        provider = net.provider()
        user = net.user(provider)
        user.write("script.py", "print('ran')")
        waiting = user.detached("--name", "waits", "script.py")
        assert waiting["state"] == "queued"
        queue = user.status("waits")["queue"]
        assert queue["position"] == 1
        assert "prepar" in queue["reason"]
        need_process(user)
        user.submit("--", "true").must()
    provider.moved(waiting["job"], "completed")
    assert user.run("logs", "waits", json=False).must().out == "ran\n"


def test_a_job_is_cancelled_while_it_starts(net: Network, cache: Path):
    with nobody_compiles(cache, "python"):
        provider = net.provider()
        user = net.user(provider)
        (user.cwd / "slow.wasm").write_bytes(
            wat2wasm('(module (func (export "_start")))')
        )
        with nobody_compiles(cache, "modules"):
            job = user.detached("slow.wasm")["job"]
            provider.moved(job, "starting")
            shown = user.run("cancel", job).must().document
            assert shown["confirmation"]["state"] == "cancelled"
            _all_is_free(user, provider)
        states = [move["state"] for move in user.status(job)["history"]]
    assert states[-2:] == ["starting", "cancelled"]


def test_a_job_is_cancelled_while_its_result_is_stored(net: Network):
    provider = net.provider(disk="2GiB")
    user = net.user(provider)
    need_process(user)
    job = trio.run(_cancel_while_storing, user)
    _all_is_free(user, provider)
    shown = user.status(job)
    states = [move["state"] for move in shown["history"]]
    assert states[-2:] == ["storing", "cancelled"]
    assert shown["result"] is None
    assert user.run("cancel", job).must().document["state"] == "cancelled"
    user.run("wait", job).must(130)
    assert "cancelled" in user.run("get", job).must(1).err
    user.submit("--", "true").must()


async def _cancel_while_storing(user: User) -> str:
    work = JobFile(
        command=("truncate", "-s", str(STORED_BYTES), "large"),
        disk_bytes=2 * STORED_BYTES,
    )
    storing = trio.Event()

    def hear(news: object) -> None:
        notice = news.notice if isinstance(news, OrderChanged) else None
        if notice is not None and notice.state is State.STORING:
            storing.set()

    with trio.fail_after(DEADLINE_S):
        async with open_client(user.home, bootstrap=[user.bootstrap or ""]) as client:
            handle = await client.submit(work, hear)
            await storing.wait()
            confirmation = await handle.cancel()
            assert confirmation is not None
            assert confirmation.state is State.CANCELLED
            return handle.job
