"""The files of chains: written while the job runs, readable after any end."""

from contextlib import aclosing

import pytest
import trio

from nunet_node.identity.keys import SigningKey
from nunet_node.results.logs.chain import LogChain, LogHead, LogHeader, key_of
from nunet_node.runtime.exchange.grants import Grants
from nunet_node.runtime.exchange.logs import (
    MARKS_MAX,
    Follow,
    LogBook,
    LogServer,
    Stand,
)
from nunet_node.runtime.store import chains as chains_module
from nunet_node.runtime.store.chains import (
    Chains,
    LogWriter,
    beginning_of,
    chain_of,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.schema import decode_record
from tests.runtime_kit import linked_hosts

OWNER = SigningKey(bytes([1]) * 32)
JOB = "j" * 32
PROTOCOL = "/nunet/logs/1"


@pytest.fixture
def chains(tmp_path):
    return Chains(tmp_path / "logs")


@pytest.fixture
def book():
    return LogBook()


@pytest.fixture
def sources(tmp_path):
    paths = (tmp_path / "stdout", tmp_path / "stderr")
    for path in paths:
        path.touch()
    return paths


@pytest.fixture
def writer(chains, book, sources):
    return new_writer(chains, book, sources)


def new_writer(chains, book, sources, *, sealed=True, attempt=1):
    return LogWriter(
        chains,
        book,
        job=JOB,
        attempt=attempt,
        owner=OWNER.did,
        sealed=sealed,
        sources=sources,
    )


def say(path, data):
    with path.open("ab") as file:
        file.write(data)


def read(records, head=None):
    """Return both streams of a chain as its owner reads it."""
    header = decode_record(LogHeader, next(records), bytes_max=10_000)
    secret = OWNER.key_agreement_secret()
    chain = LogChain(header=header, key=key_of(header, secret))
    said = [chain.take(record) for record in records]
    if head is not None:
        chain.check_head(head)
    return b"".join(s.stdout for s in said), b"".join(s.stderr for s in said)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_the_job_wrote_is_in_its_chain(chains, book, sources, sealed):
    writer = new_writer(chains, book, sources, sealed=sealed)
    say(sources[0], b"out")
    writer.catch_up()
    say(sources[1], b"err" * 100_000)
    say(sources[0], b" and more")
    head = writer.finish()

    assert read(chains.records(JOB, 1), head) == (b"out and more", b"err" * 100_000)
    assert chains.head(JOB, 1) == head
    raw = chains.path(JOB, 1).read_bytes()
    assert (b"and more" in raw) is not sealed


def test_a_job_that_wrote_nothing_has_no_chain(chains, writer):
    writer.catch_up()

    assert writer.finish() is None
    assert not writer.begun
    assert list(chains.records(JOB, 1)) == []
    assert chains.head(JOB, 1) is None


def test_nothing_is_written_once_the_chain_is_finished(chains, writer, sources):
    say(sources[0], b"one")
    head = writer.finish()
    say(sources[0], b"two")
    writer.catch_up()

    assert writer.finish() == head
    assert read(chains.records(JOB, 1)) == (b"one", b"")


def test_what_a_crash_left_of_a_last_link_is_left_out(chains, writer, sources):
    for word in (b"one", b"two"):
        say(sources[0], word)
        writer.catch_up()
    path = chains.path(JOB, 1)
    whole = path.read_bytes()
    first = chains_module.Chains(chains.root)
    for cut in range(1, 40):
        path.write_bytes(whole[:-cut])
        assert read(first.records(JOB, 1)) == (b"one", b"")
        assert first.head(JOB, 1).links == 1


def test_a_disk_that_fails_leaves_the_job_alone(chains, writer, sources, caplog):
    say(sources[0], b"one")
    chains.root.rmdir()

    assert writer.finish() is None
    assert "logs are not kept" in caplog.text


def test_only_the_chains_that_are_needed_stay(chains, book, sources):
    say(sources[0], b"one")
    for attempt in (1, 2, 3):
        new_writer(chains, book, sources, attempt=attempt).finish()
    chains.keep_only({(JOB, 2), (JOB, 3)})
    assert set(chains.heads({(JOB, 1), (JOB, 2), (JOB, 3)})) == {(JOB, 2), (JOB, 3)}
    chains.drop(JOB)
    assert list(chains.root.iterdir()) == []


async def test_a_chain_grows_while_the_job_runs(
    chains, book, writer, sources, monkeypatch
):
    monkeypatch.setattr(chains_module, "LINK_S", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for links, word in enumerate((b"one ", b"two ", b"three"), start=1):
            say(sources[0], word)
            book.changed(JOB)
            with trio.fail_after(30):
                while (
                    chains.head(JOB, 1) or LogHead(links=0, digest=b"")
                ).links < links:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert read(chains.records(JOB, 1)) == (b"one two three", b"")


class Shelf:
    """A log server with an attempt that ended without a result."""

    def __init__(self, host, tmp_path, chains, book):
        self.store = BlockStore(tmp_path / "store")
        self.grants = Grants(lambda _root: frozenset())
        server = LogServer(
            book,
            self.store,
            self.grants,
            lambda _job, _attempt: Stand(ended=True, sealed=True, chained=True),
            chains.records,
        )
        server.serve(host)


async def test_the_chain_is_sent_to_who_was_granted_the_logs(
    tmp_path, chains, book, writer, sources
):
    say(sources[1], b"why it ended")
    head = writer.finish()
    async with linked_hosts() as (server, client):
        shelf = Shelf(server, tmp_path, chains, book)
        shelf.grants.allow_logs(client.peer_id, JOB, 1)
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        asked = Follow(job=JOB, attempt=1)
        async with stream, aclosing(chain_of(stream, asked)) as found:
            records = [record async for record in found]
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        async with stream:
            await stream.send(chains_module.encode_record(asked))
            end = decode_record(
                chains_module.End, await stream.receive(), bytes_max=1000
            )
        shelf.store.close()
    assert read(iter(records), head) == (b"", b"why it ended")
    assert (end.in_chain, end.in_result) == (True, False)


async def test_a_moment_is_told_as_a_place_in_either_stream(tmp_path, chains, book):
    for at_s, ends in ((100, (10, 0)), (200, (20, 5)), (300, (30, 5))):
        book.mark(JOB, 1, at_s, ends)
    async with linked_hosts() as (server, client):
        shelf = Shelf(server, tmp_path, chains, book)
        shelf.grants.allow_logs(client.peer_id, JOB, 1)
        places = {}
        for since_s in (50, 100, 101, 250, 900):
            stream = await client.open_stream(server.peer_id, PROTOCOL)
            async with stream:
                asked = Follow(job=JOB, attempt=1, since_s=since_s)
                begin = await beginning_of(stream, asked)
            places[since_s] = (begin.stdout_from, begin.stderr_from)
        shelf.store.close()
    assert places == {
        50: (0, 0),
        100: (0, 0),
        101: (10, 0),
        250: (20, 5),
        900: (30, 5),
    }


def test_few_moments_of_a_long_job_are_remembered(book):
    count = 10 * MARKS_MAX
    for at_s in range(1, count):
        book.mark(JOB, 1, at_s, (at_s, 0))

    assert len(book._marks[(JOB, 1)]) <= MARKS_MAX
    out, _ = book.place_at(JOB, 1, count // 2)
    assert 0 <= count // 2 - out <= count // 100


def test_a_link_holds_at_most_what_a_frame_takes(chains, writer, sources):
    say(sources[0], bytes(1 << 20))
    say(sources[1], bytes(1 << 20))
    writer.finish()

    assert max(map(len, chains.records(JOB, 1))) <= chains_module.RECORD_BYTES_MAX
