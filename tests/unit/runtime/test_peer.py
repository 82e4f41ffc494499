"""Whole peers in one process: a provider that runs real jobs, and its users."""

import os
import secrets
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nunet_node.executors.sandbox.devices import Device
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Engine, JobSpec, Network, Timeouts
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.port import ListenFailed
from nunet_node.protocol.effects import (
    CancelConfirmed,
    CommandRefused,
    LogsGranted,
    ReadGranted,
)
from nunet_node.protocol.inputs import (
    CancelWanted,
    CustodianNamed,
    LogsWanted,
    ReadWanted,
    ResultWritten,
)
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.runtime import orders as orders_module
from nunet_node.runtime.exchange.logs import Follow
from nunet_node.runtime.exchange.requests import BlockRefusedError
from nunet_node.runtime.home import open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.peer import open_peer
from nunet_node.runtime.settings import PeerSettings, Provide
from nunet_node.runtime.wallet.reading import seal_of
from nunet_node.storage.errors import HomeInUseError
from nunet_node.storage.read_tree import Source
from tests.executors_kit import need
from tests.proxy_kit import a_world
from tests.runtime_kit import memory_opener

ROOM = ResourceVector(cpu_millis=1000, memory_bytes=512 << 20, disk_bytes=512 << 20)


class Town:
    """A network in memory with homes of its own."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.network = MemoryNetwork()
        self.provider = None

    @asynccontextmanager
    async def node(
        self, name="provider", *, provides=True, devices=tuple, outside=None, **changes
    ):
        home = open_home(self.tmp_path / name)
        provide = Provide(
            offer=lambda found: ROOM.with_gpus(found.gpu_kinds),
            devices=devices,
            domains=("*.data.example",) if outside else (),
            outside=outside,
        )
        settings = PeerSettings(
            home=home,
            key=home.node_key(),
            is_node=True,
            provide=provide if provides else None,
            gossip=True,
            drain_s=0,
            **changes,
        )
        with trio.fail_after(120):
            async with open_peer(settings, network=memory_opener(self.network)) as peer:
                if provides:
                    self.provider = peer
                yield peer

    @asynccontextmanager
    async def command(self, name="user"):
        home = open_home(self.tmp_path / name)
        if "me" not in home.identity_names():
            home.new_identity("me")
        me = home.identity("me")
        settings = PeerSettings(
            home=home,
            key=SigningKey(secrets.token_bytes(32)),
            users={me.did: me.key},
            bootstrap=self.provider.addresses() if self.provider else (),
        )
        async with open_peer(settings, network=memory_opener(self.network)) as peer:
            await peer.wait_known(10)
            yield peer


@pytest.fixture
async def town(tmp_path):
    await need("process")
    return Town(tmp_path)


def shell(script, **changes):
    return JobSpec(
        name="job", engine=Engine.PROCESS, command=("/bin/sh", "-c", script), **changes
    )


async def until(peer, news, condition):
    """Return the first news for which the condition holds."""
    with trio.fail_after(60):
        async for each in news:
            if condition(each):
                return each
    raise AssertionError("the news ended")


async def until_state(peer, news, job, *states):
    if peer.orders[job].state not in states:
        await until(peer, news, lambda _: peer.orders[job].state in states)
    return peer.orders[job]


async def granted(peer, news, wanted, kind):
    await peer.tell(wanted)
    said = await until(peer, news, lambda n: isinstance(n, kind | CommandRefused))
    assert isinstance(said, kind), said
    return said


async def test_a_gpu_that_was_found_is_given_to_the_job_that_asked_for_it(town):
    kind = Gpus(vendor="nvidia", model="Tesla T4", memory_bytes=15 << 30)
    found = (Device(name="lent", kind=kind, nodes=(os.devnull,)),)
    room = ROOM.with_gpus([Gpus(model="t4")])
    async with town.node(devices=lambda: found), town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("exit 3", resources=room))
        order = await until_state(user, news, job, State.FAILED)
        assert order.exit_code == 3, order.reason
        assert town.provider.jobs[job].gpus == (), "it is free again"


async def test_a_job_runs_from_its_inputs_to_a_verified_result(town, tmp_path):
    (tmp_path / "in.txt").write_text("six\n")
    async with town.node(), town.command() as user:
        news = user.subscribe()
        source = Source(path=tmp_path / "in.txt", dest="data/in.txt")
        root, size = await user.store_inputs([source])
        script = "cat data/in.txt; echo bad >&2; mkdir o; echo $NUNET_JOB_ATTEMPT > o/n; exit 3"
        job = await user.place(shell(script, inputs=root, inputs_bytes=size))
        order = await until_state(user, news, job, State.FAILED)
        assert order.exit_code == 3
        read = await granted(user, news, ReadWanted(job=job), ReadGranted)
        target = tmp_path / "out"
        await user.transfers.fetch(
            (read.peer_id,),
            read.receipt.result,
            target,
            seal=seal_of(read.receipt, user.users, user.holdings),
            beside={"receipt.cbor": read.receipt_data},
        )
        await user.tell(ResultWritten(job=job, path=str(target)))
    files = {
        p.relative_to(target).as_posix(): p.read_bytes()
        for p in target.rglob("*")
        if p.is_file()
    }
    assert files.pop("receipt.cbor")
    assert files == {
        "exit_code": b"3\n",
        "stdout": b"six\n",
        "stderr": b"bad\n",
        "outputs/o/n": b"1\n",
    }
    kept = read_orders(open_home(tmp_path / "user"))[job]
    assert kept.fetched_to == str(target)
    assert kept.state is State.FAILED


FETCHES = (
    "import urllib.request as u; print(u.urlopen('http://a.data.example/').read())"
)


async def test_a_job_fetches_from_a_domain_that_its_provider_lends(town):
    wanted = JobSpec(
        name="job",
        engine=Engine.PROCESS,
        command=("python3", "-c", FETCHES),
        network=Network(http=("a.data.example",)),
    )
    async with a_world() as world, town.node(outside=world), town.command() as user:
        news = user.subscribe()
        job = await user.place(wanted)
        order = await until_state(user, news, job, State.COMPLETED, State.FAILED)
        assert order.state is State.COMPLETED, order.reason
        read = await granted(user, news, ReadWanted(job=job), ReadGranted)
    (reached,) = read.receipt.reached
    assert (reached.domain, reached.connections) == ("a.data.example", 1)
    assert reached.received_bytes > 0
    assert len(world.heard) == 1


async def test_logs_are_followed_live_and_read_afterwards(town, tmp_path):
    async with town.node(), town.command() as user:
        news = user.subscribe()
        script = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two"
        job = await user.place(shell(script))
        await until_state(user, news, job, State.RUNNING)
        granting = await granted(user, news, LogsWanted(job=job), LogsGranted)
        asked = Follow(job=job, attempt=granting.attempt)
        got = b""
        follow = partial(user.transfers.follow_logs, granting.peer_id, asked)
        async with aclosing(follow(not_needed)) as pieces:
            async for stream, data in pieces:
                assert stream == "stdout"
                got += data
                if got == b"one\n":
                    let_go(town, job)
        assert got == b"one\ntwo\n"
        await until_state(user, news, job, State.COMPLETED)
        read = await granted(user, news, ReadWanted(job=job), ReadGranted)
        rest = partial(
            user.transfers.result_logs,
            read.peer_id,
            read.receipt.result,
            seal_of(read.receipt, user.users, user.holdings),
        )
        async with aclosing(follow(rest)) as pieces:
            assert b"".join([data async for _, data in pieces]) == b"one\ntwo\n"


async def not_needed(asked):
    raise AssertionError(f"everything was said while the job ran: {asked}")
    yield


def let_go(town, job):
    """Make the file that a job waits for, in its own directory."""
    scratch = open_home(town.tmp_path / "provider").scratch()
    for folder in scratch.glob("job-*/job"):
        (folder / "go").touch()
        (folder / "go").chmod(0o644)


async def test_a_cancel_ends_the_job_and_gives_its_room_back(town):
    async with town.node() as provider, town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("sleep 600"))
        await until_state(user, news, job, State.RUNNING)
        assert provider.jobs[job].holding
        said = await granted(user, news, CancelWanted(job=job), CancelConfirmed)
        assert said.confirmation.state is State.CANCELLED
        assert not provider.jobs[job].holding
        scratch = open_home(town.tmp_path / "provider").scratch()
        await until_true(lambda: not list(scratch.glob("job-*")))


async def until_true(condition):
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.01)


async def test_a_second_job_waits_for_room_and_starts_without_its_submitter(town):
    async with town.node() as provider:
        async with town.command() as user:
            news = user.subscribe()
            first = await user.place(shell("sleep 600"))
            await until_state(user, news, first, State.RUNNING)
            second = await user.place(shell("echo done"))
            order = await until_state(user, news, second, State.QUEUED)
            await until(user, news, lambda _: user.orders[second].queue is not None)
            assert user.orders[second].queue.position == 1
            assert order.job == second
            await granted(user, news, CancelWanted(job=first), CancelConfirmed)
        watched = provider.subscribe()
        if not provider.jobs[second].ended:
            await until(provider, watched, lambda _: provider.jobs[second].ended)
        assert provider.jobs[second].state is State.COMPLETED
    async with town.node(), town.command() as user:
        await user.load(second)
        news = user.subscribe()
        assert await user.follow(second)
        await until_state(user, news, second, State.COMPLETED)


async def test_a_stranger_learns_and_gets_nothing(town, tmp_path):
    async with town.node() as provider, town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("echo secret"))
        await until_state(user, news, job, State.COMPLETED)
        async with town.command("stranger") as stranger:
            heard = stranger.subscribe()
            refusals = []
            for asked in (job, "a" * 32):
                await stranger.tell(
                    CustodianNamed(
                        job=asked,
                        provider=provider.did,
                        peer_id=provider.peer_id,
                        addresses=provider.addresses(),
                    )
                )
                await stranger.tell(ReadWanted(job=asked))
                said = await until(
                    stranger, heard, lambda n: isinstance(n, CommandRefused)
                )
                refusals.append(said.refusal)
            assert refusals[0] == refusals[1]
            assert refusals[0].code == "job.unknown"
            with pytest.raises(BlockRefusedError):
                await stranger.transfers.fetch(
                    (provider.peer_id,), provider.jobs[job].result, tmp_path / "stolen"
                )
        assert not (tmp_path / "stolen").exists()


async def test_a_result_is_served_after_a_restart_on_a_fresh_grant(town, tmp_path):
    async with town.node(), town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("echo kept"))
        await until_state(user, news, job, State.COMPLETED)
    async with town.node(), town.command() as user:
        await user.load(job)
        news = user.subscribe()
        result = user.orders[job].result
        with pytest.raises(BlockRefusedError):
            await user.transfers.fetch(
                (town.provider.peer_id,), result, tmp_path / "early"
            )
        read = await granted(user, news, ReadWanted(job=job), ReadGranted)
        seal = seal_of(read.receipt, user.users, user.holdings)
        await user.transfers.fetch((read.peer_id,), result, tmp_path / "out", seal=seal)
    assert (tmp_path / "out/stdout").read_bytes() == b"kept\n"


async def test_stopping_a_node_tells_the_owner_that_the_job_is_lost(town):
    async with town.node() as provider, town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("sleep 600"))
        await until_state(user, news, job, State.RUNNING)
        await provider.drain()
        await until_state(user, news, job, State.LOST)
        assert user.orders[job].notice.state is State.LOST


async def test_a_run_time_limit_is_kept(town):
    async with town.node(), town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("sleep 600", timeouts=Timeouts(run_s=1)))
        await until_state(user, news, job, State.TIMED_OUT)
        assert user.orders[job].reason == "ran for its 1 s and was ended"


async def test_the_node_of_a_home_looks_after_the_homes_orders(town):
    async with town.node():
        async with town.command() as user:
            news = user.subscribe()
            job = await user.place(shell("sleep 1"))
            await until_state(user, news, job, State.RUNNING)
        addresses = town.provider.addresses()
        async with town.node("user", provides=False, bootstrap=addresses) as own:
            await until_true(lambda: job in own.orders)
            news = own.subscribe()
            await until_state(own, news, job, State.COMPLETED)
            assert own.orders[job].exit_code == 0


async def test_a_command_finds_a_job_free_that_the_node_of_its_own_home_runs(
    town, monkeypatch
):
    monkeypatch.setattr(orders_module, "PICK_UP_S", 0.01)
    async with town.node() as own:
        async with town.command("provider") as user:
            news = user.subscribe()
            job = await user.place(shell("while [ ! -e go ]; do sleep 0.05; done"))
            await until_state(user, news, job, State.RUNNING)
        await until_true(lambda: job in own.orders)
        async with town.command("provider") as later:
            news = later.subscribe()
            await later.follow(job)
            let_go(town, job)
            await until_state(later, news, job, State.COMPLETED)
            assert later.orders[job].exit_code == 0


async def test_two_commands_on_one_home_see_one_order(town):
    async with town.node(), town.command() as first, town.command() as second:
        news, news_too = first.subscribe(), second.subscribe()
        job = await first.place(shell("while [ ! -e go ]; do sleep 0.05; done"))
        await second.load(job)
        assert not await second.follow(job)
        await until_state(first, news, job, State.RUNNING)
        await until_state(second, news_too, job, State.RUNNING)
        let_go(town, job)
        await until_state(second, news_too, job, State.COMPLETED)
        await until_state(first, news, job, State.COMPLETED)
        history = [move.state for move in second.orders[job].history]
        assert len(history) == len(set(history))


async def test_a_cancel_by_another_command_reaches_an_order_that_waits(town):
    async with town.command() as first, town.command() as second:
        news = first.subscribe()
        job = await first.place(shell("true"))
        await second.load(job)
        await second.tell(CancelWanted(job=job))
        order = await until_state(first, news, job, State.CANCELLED)
        assert order.award is None


async def test_one_node_at_a_time_on_a_home(town):
    async with town.node():
        with pytest.raises(HomeInUseError, match=str(os.getpid())):
            async with town.node():
                pass


async def test_a_command_finds_the_node_that_runs_on_its_home(town, tmp_path):
    async with town.node("user") as node:
        town.provider = None
        async with town.command("user") as command:
            assert [a.issuer for a in command.adverts.fresh(0)] == [node.did]
    assert open_home(tmp_path / "user").running_node() is None


async def test_nothing_of_a_node_stays_behind_when_it_stops(town, tmp_path):
    async with town.node(), town.command() as user:
        news = user.subscribe()
        job = await user.place(shell("sleep 600"))
        await until_state(user, news, job, State.RUNNING)
        scratch = open_home(tmp_path / "provider").scratch()
        assert list(scratch.glob("job-*"))
    assert not list(scratch.glob("job-*"))


async def test_unreachable_bootstraps_are_named(tmp_path):
    town = Town(tmp_path)
    nobody = (
        "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWCugzopk9fYBy1pvYVi94Qr2y9PL4CjSpYZUaXir3YWb7"
    )
    home = open_home(Path(tmp_path / "user"))
    settings = PeerSettings(home=home, key=home.node_key(), bootstrap=(nobody,))
    async with open_peer(settings, network=memory_opener(town.network)) as peer:
        joined = await peer.wait_known(30)
    assert joined.neighbours == frozenset()
    assert "12D3KooWCugzopk9fYBy1pvYVi94Qr2y9PL4CjSpYZUaXir3YWb7" in joined.failures[0]


async def test_others_are_told_what_is_announced_and_the_home_where_it_is(town):
    outside = "/ip4/192.0.2.7/tcp/4040"
    async with town.node(announce=(outside,)) as peer:
        assert peer.addresses() == (f"{outside}/p2p/{peer.peer_id}",)
        running = open_home(town.tmp_path / "provider").running_node()
        assert running.addresses != peer.addresses()


async def test_a_bulk_port_that_was_asked_for_by_number_is_had_or_nothing_starts(town):
    [taken] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        port = taken.socket.getsockname()[1]
        here = ("/ip4/127.0.0.1/tcp/0",)
        with pytest.raises(ListenFailed, match=str(port)):
            async with town.node(provides=False, listen=here, bulk_port=port):
                pass
