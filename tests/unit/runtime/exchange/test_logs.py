"""A follower gets every byte once, in order, live and afterwards."""

from contextlib import aclosing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nunet_node.network.stream import StreamBroken
from nunet_node.runtime.exchange import logs as logs_module
from nunet_node.runtime.exchange.grants import Grants
from nunet_node.runtime.exchange.logs import (
    End,
    Follow,
    LogBook,
    LogServer,
    Piece,
    Stand,
    follow,
    no_records,
)
from nunet_node.runtime.exchange.requests import BlockProtocolError, BlockRefusedError
from nunet_node.storage.blocks import BlockStore
from tests.runtime_kit import linked_hosts, store_files

PROTOCOL = "/nunet/logs/1"


class Job:
    """A job that writes logs and ends, at a provider that serves them."""

    def __init__(self, store, directory):
        self.store = store
        self.directory = directory
        self.paths = directory / "live-out", directory / "live-err"
        self.stand = Stand(ended=False)
        self.book = LogBook()
        self.grants = Grants(lambda _root: frozenset())
        self.server = LogServer(
            self.book,
            store,
            self.grants,
            lambda _job, _n: self.stand,
            no_records,
        )

    def serve(self, server, client):
        self.server.serve(server)
        self.grants.allow_logs(client.peer_id, "job", 1)

    def start(self):
        for path in self.paths:
            path.write_bytes(b"")
        self.book.begin("job", 1, *self.paths)

    def write(self, name, data):
        with self.paths[("stdout", "stderr").index(name)].open("ab") as file:
            file.write(data)
        self.book.changed("job")

    def end(self):
        files = {
            "stdout": self.paths[0].read_bytes(),
            "stderr": self.paths[1].read_bytes(),
        }
        built = store_files(self.store, self.directory / "result", files)
        self.stand = Stand(ended=True, result=built.root)
        self.book.end("job", 1)
        for path in self.paths:
            path.unlink()


@pytest.fixture
def job(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield Job(store, tmp_path)


def asking(**changes):
    return Follow(job="job", attempt=1, **changes)


async def collected(server, client, asked):
    got = {"stdout": b"", "stderr": b""}
    async with (
        await client.open_stream(server.peer_id, PROTOCOL) as stream,
        aclosing(follow(stream, asked)) as pieces,
    ):
        async for said in pieces:
            if isinstance(said, End):
                return got["stdout"], got["stderr"], said.complete
            got[said.stream] += said.data
    raise AssertionError("no end")


async def test_what_a_job_writes_arrives_while_it_runs(job):
    async with linked_hosts() as (server, client), trio.open_nursery() as nursery:
        job.serve(server, client)
        job.start()
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        async with aclosing(follow(stream, asking())) as said:
            job.write("stdout", b"one\n")
            assert await anext(said) == Piece(stream="stdout", data=b"one\n")
            job.write("stderr", b"two\n")
            assert await anext(said) == Piece(stream="stderr", data=b"two\n")
            nursery.start_soon(write_soon, job, b"three\n")
            assert await anext(said) == Piece(stream="stdout", data=b"three\n")
            job.end()
            assert await anext(said) == End()


async def write_soon(job, data):
    await wait_all_tasks_blocked()
    job.write("stdout", data)


async def test_a_job_that_has_not_started_is_waited_for(job):
    async with linked_hosts() as (server, client), trio.open_nursery() as nursery:
        job.serve(server, client)

        async def live():
            await wait_all_tasks_blocked()
            job.start()
            job.write("stdout", b"late\n")
            await wait_all_tasks_blocked()
            job.end()

        nursery.start_soon(live)
        assert await collected(server, client, asking()) == (b"late\n", b"", True)


async def test_after_the_end_the_stored_result_is_read(job, monkeypatch):
    monkeypatch.setattr(logs_module, "PIECE_BYTES_MAX", 5)
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        job.start()
        job.write("stdout", b"a long line\n")
        job.write("stderr", b"error\n")
        job.end()
        whole = await collected(server, client, asking())
        assert whole == (b"a long line\n", b"error\n", True)
        rest = await collected(server, client, asking(stdout_from=2, stderr_from=6))
        assert rest == (b"long line\n", b"", True)


async def test_offsets_reach_into_later_chunks_of_a_long_log(job, monkeypatch):
    monkeypatch.setattr(logs_module, "CHUNK_BYTES", 1 << 20)
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        job.start()
        text = b"".join(b"%07d\n" % n for n in range(200_000))
        job.write("stdout", text)
        job.end()
        for at in (0, 1 << 20, (1 << 20) + 7, len(text) - 1, len(text), 1 << 40):
            out, _, _ = await collected(server, client, asking(stdout_from=at))
            assert out == text[at:]


async def test_without_following_the_answer_ends_at_once(job):
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        job.start()
        job.write("stdout", b"so far\n")
        answer = await collected(server, client, asking(follow=False))
        assert answer == (b"so far\n", b"", False)


async def test_a_cancelled_job_ends_its_logs_without_a_result(job):
    async with linked_hosts() as (server, client), trio.open_nursery() as nursery:
        job.serve(server, client)
        job.start()

        async def cancel():
            await wait_all_tasks_blocked()
            job.stand = Stand(ended=True)
            job.book.end("job", 1)

        nursery.start_soon(cancel)
        assert await collected(server, client, asking()) == (b"", b"", True)


async def test_no_grant_and_no_job_get_the_same_answer(job):
    async with linked_hosts(3) as (server, client, stranger):
        job.serve(server, client)
        job.start()
        for who, asked in (
            (stranger, asking()),
            (client, Follow(job="job", attempt=2)),
            (client, Follow(job="another", attempt=1)),
        ):
            with pytest.raises(BlockRefusedError):
                await collected(server, who, asked)


async def test_a_leave_that_was_taken_back_ends_what_is_followed(job):
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        job.start()
        job.write("stdout", b"theirs")
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        async with aclosing(follow(stream, asking())) as said:
            assert await anext(said) == Piece(stream="stdout", data=b"theirs")
            job.grants.forget(client.peer_id)
            job.write("stdout", b"no longer theirs")
            with pytest.raises(BlockRefusedError):
                await anext(said)


async def test_a_follower_that_leaves_is_forgotten(job):
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        job.start()
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        async with aclosing(follow(stream, asking())) as said:
            job.write("stdout", b"x")
            await anext(said)
        await stream.finish()
        await wait_all_tasks_blocked()
        assert not job.server._followers


async def test_followers_of_one_peer_are_counted(job, monkeypatch):
    monkeypatch.setattr(logs_module, "FOLLOWERS_PER_PEER_MAX", 1)
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        await client.open_stream(server.peer_id, PROTOCOL)
        await wait_all_tasks_blocked()
        second = await client.open_stream(server.peer_id, PROTOCOL)
        with pytest.raises(StreamBroken):
            await second.receive()


async def test_a_peer_that_never_asks_is_cut_off(job, autojump_clock):
    async with linked_hosts() as (server, client):
        job.serve(server, client)
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        with trio.fail_after(logs_module.ASK_S + 5), pytest.raises(StreamBroken):
            await stream.receive()


async def test_a_provider_that_leaves_early_is_an_error():
    async def leave(stream):
        await stream.receive()

    async with linked_hosts() as (server, client):
        server.serve(PROTOCOL, leave)
        with pytest.raises(BlockProtocolError):
            await collected(server, client, asking())
