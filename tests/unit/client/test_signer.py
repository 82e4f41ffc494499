"""A user whose key another program has: nothing waits for it but what it signs."""

import sys

import pytest
import trio

from nunet_node.client.trust.delegating import Grant, delegate
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.effects import CommandRefused, SignatureWanted
from nunet_node.protocol.messages import READ
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.tokens import voids
from tests.unit.client.test_session import shell, town

__all__ = ["town"]

KEY = SigningKey(b"h" * 32)
PROGRAM = """
import base64, json, os, pathlib, sys, time
from nunet_node.identity.keys import SigningKey
place = pathlib.Path(sys.argv[1])
asked = json.loads(sys.stdin.readline())
(place / "asking").write_text(str(os.getpid()))
(place / "asking").rename(place / "asked")
while not (place / "go").exists():
    time.sleep(0.01)
signature = SigningKey(b"h" * 32).sign(base64.b64decode(asked["message"]))
print(json.dumps({"signature": base64.b64encode(signature).decode()}))
"""


@pytest.fixture
def place(tmp_path):
    keep(tmp_path, PROGRAM)
    return tmp_path


def keep(tmp_path, text):
    path = tmp_path / "sign.py"
    path.write_text(text)
    home = open_home(tmp_path / "user")
    home.keep_external("hw", KEY.did, (sys.executable, str(path), str(tmp_path)))


async def asked(place):
    with trio.fail_after(60):
        while not (place / "asked").exists():
            await trio.sleep(0.01)
    return int((place / "asked").read_text())


async def test_the_peer_lives_while_a_person_is_asked(town, place):
    news = []
    async with town.client(identity="hw") as client:
        handle = await client.submit(shell("true", name="mine"), news.append)
        await asked(place)
        async with town.client("other") as other:
            theirs = await other.submit(shell("true", name="theirs"))
            assert (await theirs.ended()).state is State.COMPLETED
        assert await client.nodes()
        assert not handle.order.in_custody

        (place / "go").touch()
        order = await handle.ended()
    assert (order.state, order.owner) == (State.COMPLETED, KEY.did)
    assert any(isinstance(each, SignatureWanted) for each in news)


async def test_a_job_is_cancelled_while_a_person_is_asked(town, place):
    async with town.client(identity="hw") as client:
        handle = await client.submit(shell("true", name="mine"))
        pid = await asked(place)
        assert await handle.cancel() is None
        assert handle.order.state is State.CANCELLED
    assert gone(pid)


async def test_whoever_stops_waiting_leaves_no_program_behind(town, place):
    async with town.client(identity="hw") as client:
        await client.submit(shell("true", name="mine"))
        pid = await asked(place)
    assert gone(pid)


async def test_a_job_left_unsigned_is_cancelled_by_another_process(town, place):
    async with town.client(identity="hw") as client:
        handle = await client.submit(shell("true", name="mine"))
        assert not client.opens(handle.order)
        await asked(place)
    (place / "go").touch()
    async with town.client(identity="hw") as client:
        left = await client.find(handle.job)
        # Whether anything was commanded is not remembered, so the provider is asked.
        assert await left.cancel() is None
        assert left.order.state is State.CANCELLED


async def test_a_program_that_will_not_sign_refuses_the_job(town, tmp_path):
    keep(tmp_path, "raise SystemExit(3)")
    news = []
    async with town.client(identity="hw") as client:
        handle = await client.submit(shell("true", name="mine"), news.append)
        order = await handle.ended()
        assert order.state is State.REFUSED
        assert "exit code 3" in order.reason
        assert len([n for n in news if isinstance(n, CommandRefused)]) == 1
        # Its record is here, and the same home may submit as somebody else.
        assert handle.job in await client.orders()


async def test_whoever_stops_taking_back_leaves_no_program_behind(town, place):
    home = open_home(place / "user")
    (place / "go").touch()
    grant = Grant(to=KEY.did, command=READ, expires_at_s=2_000_000_000)
    given = delegate(home, home.identity("hw").key, grant)
    for left in ("go", "asked"):
        (place / left).unlink()
    async with town.client(identity="hw") as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.revoke, given.chain)
        pid = await asked(place)
        nursery.cancel_scope.cancel()
    assert gone(pid)
    assert not voids(home)


async def test_a_revocation_that_a_program_signs_holds(town, place):
    home = open_home(place / "user")
    (place / "go").touch()
    grant = Grant(to=KEY.did, command=READ, expires_at_s=2_000_000_000)
    given = delegate(home, home.identity("hw").key, grant)
    async with town.client(identity="hw") as client:
        done = await client.revoke(given.chain)
    assert len(done.acknowledged) == 1
    assert list(voids(home)) == [given.leaf.cid]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
