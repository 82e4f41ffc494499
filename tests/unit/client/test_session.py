"""A client does a user's errands on a network, here one in memory with real jobs."""

import os
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from nunet_node.capability.held.terms import Terms, sealed_key_of
from nunet_node.client import (
    AmbiguousJobError,
    JobFile,
    NoNetworkError,
    ResultMissingError,
    UnknownJobError,
    open_client,
    order_document,
)
from nunet_node.client.errors import InputsError
from nunet_node.client.trust.delegating import Grant, delegate, share
from nunet_node.jobs.job_file import FileInput
from nunet_node.jobs.job_file.values import parse_input
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import ResultKind
from nunet_node.network.memory import MemoryNetwork
from nunet_node.protocol.effects import BidCounted, OrderChanged
from nunet_node.protocol.messages import READ
from nunet_node.quantities import ResourceVector
from nunet_node.results.errors import SealError
from nunet_node.runtime.home import open_home
from nunet_node.runtime.peer import open_peer
from nunet_node.runtime.settings import PeerSettings, Provide
from nunet_node.runtime.wallet.tokens import keep_token
from tests.executors_kit import need
from tests.runtime_kit import memory_opener

ROOM = ResourceVector(cpu_millis=1000, memory_bytes=512 << 20, disk_bytes=512 << 20)
LINGER = JobFile(name="linger", command=("sleep", "600"))


class Town:
    """One provider, and as many users as come by."""

    def __init__(self, tmp_path, opener):
        self.tmp_path = tmp_path
        self.opener = opener
        self.addresses = ()

    @asynccontextmanager
    async def client(self, name="user", **changes):
        options = {"bootstrap": self.addresses, "network": self.opener, **changes}
        with trio.fail_after(100):
            async with open_client(self.tmp_path / name, **options) as client:
                yield client


@pytest.fixture
async def town(tmp_path):
    await need("process")
    opener = memory_opener(MemoryNetwork())
    home = open_home(tmp_path / "provider")
    settings = PeerSettings(
        home=home,
        key=home.node_key(),
        is_node=True,
        provide=Provide(offer=lambda _found: ROOM),
        gossip=True,
        drain_s=0,
    )
    async with open_peer(settings, network=opener) as peer:
        made = Town(tmp_path, opener)
        made.addresses = peer.addresses()
        yield made


def shell(script, **said):
    return JobFile(command=("/bin/sh", "-c", script), **said)


async def test_a_job_goes_from_a_description_to_a_verified_result(town, tmp_path):
    (tmp_path / "in.txt").write_text("six\n")
    work = shell(
        "cat d/in.txt; mkdir o; echo x > o/n",
        name="cat",
        inputs=(FileInput(path=str(tmp_path / "in.txt"), dest="d/in.txt"),),
    )
    news = []
    async with town.client() as client:
        handle = await client.submit(work, news.append)
        order = await handle.ended()
        path = await handle.fetch(tmp_path / "out")
        shown = order_document(handle.order)

    assert order.state is State.COMPLETED
    assert (path / "stdout").read_text() == "six\n"
    assert (path / "outputs/o/n").read_text() == "x\n"
    assert (path / "receipt.cbor").stat().st_size > 0
    assert shown["result"]["path"] == str(path)
    assert {type(each) for each in news} >= {BidCounted, OrderChanged}


async def test_nothing_that_a_job_made_can_be_read_at_its_provider(town, tmp_path):
    script = "printf 'mar%s' ker; printf 'na%s' med > mar$(printf ker); cat in"
    (tmp_path / "in").write_text("brought")
    work = shell(script, inputs=(FileInput(path=str(tmp_path / "in"), dest="in"),))
    async with town.client() as client:
        handle = await client.submit(work)
        await handle.ended()
        path = await handle.fetch(tmp_path / "out")
        words = b"marker", b"named", b"brought"
        await until(lambda: not holding(tmp_path / "provider", *words))
        assert not holding(tmp_path / "user/blocks", b"marker", b"named")
    assert (path / "stdout").read_bytes() == b"markerbrought"
    assert (path / "outputs/marker").read_bytes() == b"named"


async def until(condition):
    """Wait for what a node does by itself, after the job has ended."""
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.01)


def holding(directory, *words):
    """Return the files that show a word in their bytes or names."""
    return [
        path
        for path in all_below(directory)
        for word in words
        if word in path.name.encode() or word in read(path)
    ]


def all_below(directory):
    """Yield every path, but for those that a node removes meanwhile."""

    def unlisted(error):
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, folders, files in os.walk(directory, onerror=unlisted):
        yield from (Path(folder) / name for name in (*folders, *files))


def read(path):
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


async def test_a_public_result_is_plain_files_for_everybody(town, tmp_path):
    async with town.client() as client:
        work = shell("printf 'mar%s' ker", results=ResultKind.PUBLIC)
        handle = await client.submit(work)
        await handle.ended()
        path = await handle.fetch(tmp_path / "out")
        assert holding(tmp_path / "provider/kept", b"marker")
        logs = [piece.data async for piece in handle.logs()]
    assert (path / "stdout").read_bytes() == b"".join(logs) == b"marker"


async def test_logs_are_read_out_of_the_sealed_result_from_any_offset(town):
    async with town.client() as client:
        handle = await client.submit(shell("printf 0123456789; printf bad >&2"))
        await handle.ended()
    async with town.client() as client:
        found = await client.find(handle.job)
        for skip in (None, {"stdout": 3, "stderr": 2}, {"stdout": 99, "stderr": 3}):
            got = {"stdout": b"", "stderr": b""}
            async for piece in found.logs(skip=skip):
                got[piece.stream] += piece.data
            at = skip or {"stdout": 0, "stderr": 0}
            assert got["stdout"] == b"0123456789"[at["stdout"] :]
            assert got["stderr"] == b"bad"[at["stderr"] :]


async def test_a_shared_result_is_opened_by_its_reader_alone(town, tmp_path):
    reader_home = open_home(tmp_path / "reader")
    reader = reader_home.new_identity("default")
    owner_home = open_home(tmp_path / "user")
    ends = int(time.time()) + 3600
    async with town.client() as client:
        handle = await client.submit(shell("while [ ! -e go ]; do sleep 0.1; done"))
        await handle.placed()
        early = share(owner_home, client.identity.key, handle.order, reader.did, ends)
        await handle.cancel()
        handle = await client.submit(shell("printf hi"))
        order = await handle.ended()
        given = share(owner_home, client.identity.key, order, reader.did, ends)
    assert not sealed_key_of(early.leaf.meta)
    without = replace_key(client.identity.key, owner_home, order, reader.did, ends)
    keep_token(reader_home, without.token)
    async with town.client("reader") as client:
        found = await client.find(order.link)
        with pytest.raises(SealError, match="no key here opens it"):
            await found.fetch(tmp_path / "early")
    keep_token(reader_home, given.token)
    async with town.client("reader") as client:
        found = await client.find(order.link)
        path = await found.fetch(tmp_path / "there")
    assert (path / "stdout").read_bytes() == b"hi"
    assert not (tmp_path / "early").exists()


def replace_key(signer, home, order, to, ends):
    """Share a result as one does who has not its key."""
    terms = Terms(job=order.job)
    return delegate(
        home,
        signer,
        Grant(to=to, command=READ, expires_at_s=ends, terms=terms, link=order.link),
    )


async def test_one_client_runs_several_jobs_over_its_connection(town):
    async with town.client() as client:
        handles = [await client.submit(shell(f"exit {code}")) for code in (1, 2, 3)]
        codes = [(await handle.ended()).exit_code for handle in handles]

    assert codes == [1, 2, 3]


async def test_what_a_job_writes_is_followed_until_its_end(town):
    async with town.client() as client:
        handle = await client.submit(shell("echo out; echo err >&2; exit 1"))
        await handle.started()
        written = {"stdout": b"", "stderr": b""}
        async for piece in handle.logs():
            written[piece.stream] += piece.data

    assert written == {"stdout": b"out\n", "stderr": b"err\n"}


async def test_a_job_is_found_again_by_id_prefix_name_and_link(town):
    async with town.client() as client:
        handle = await client.submit(shell("true", name="mine"))
        order = await handle.ended()
    for word in (order.job, order.job[:8], "mine", order.link):
        async with town.client() as client:
            found = await client.find(word)
            assert found.job == order.job
            assert found.order.state is State.COMPLETED


async def test_finding_a_job_again_tells_no_old_news(town):
    news = []
    async with town.client() as client:
        handle = await client.submit(shell("true", name="old"))
        await handle.ended()
    async with town.client() as client:
        found = await client.find("old", news.append)
        await found.cancel()

    assert not [n for n in news if isinstance(n, OrderChanged) and n.notice]


async def test_two_jobs_of_one_name_are_told_apart(town):
    async with town.client() as client:
        for _ in range(2):
            await (await client.submit(shell("true", name="twin"))).ended()
        with pytest.raises(AmbiguousJobError):
            await client.find("twin")


async def test_the_owner_finds_a_job_from_another_home(town, tmp_path):
    async with town.client() as client:
        handle = await client.submit(shell("echo hi"))
        job = (await handle.ended()).job
    open_home(tmp_path / "laptop").keep_identity(
        open_home(tmp_path / "user").identity("default")
    )
    async with town.client("laptop") as client:
        found = await client.find(job)
        assert (await found.report()).state is State.COMPLETED
        path = await found.fetch(tmp_path / "there")

    assert (path / "stdout").read_text() == "hi\n"


async def test_a_stranger_learns_nothing_by_any_command(town, tmp_path):
    async with town.client() as client:
        handle = await client.submit(shell("true"))
        link = (await handle.ended()).link
    async with town.client("stranger") as client:
        found = await client.find(link)
        for command in (
            found.report,
            found.follow,
            found.cancel,
            partial(found.fetch, tmp_path / "stolen"),
            partial(anext, found.logs()),
        ):
            with pytest.raises(UnknownJobError, match="no such job, or not yours"):
                await command()
        with pytest.raises(UnknownJobError):
            await client.find(handle.job)

    assert not (tmp_path / "stolen").exists()


async def test_a_job_that_nobody_has_is_answered_like_a_stranger_s(town):
    async with town.client() as client:
        with pytest.raises(UnknownJobError, match="no such job, or not yours"):
            await client.find("b" * 32)
        with pytest.raises(UnknownJobError, match="no such job, or not yours"):
            await client.find("nothing-of-this-name")


async def test_a_cancel_is_confirmed_and_repeating_it_is_harmless(town):
    async with town.client() as client:
        handle = await client.submit(LINGER)
        await handle.started()
        first = await handle.cancel()
        again = await handle.cancel()

    assert first == again
    assert (first.job, first.state, first.already_ended) == (
        handle.job,
        State.CANCELLED,
        False,
    )


async def test_a_result_is_not_there_before_the_end(town, tmp_path):
    async with town.client() as client:
        handle = await client.submit(LINGER)
        await handle.started()
        with pytest.raises(ResultMissingError):
            await handle.fetch(tmp_path / "early")
        await handle.cancel()

    assert not (tmp_path / "early").exists()


async def test_a_job_that_nobody_can_take_is_refused_at_once_with_the_reason(town):
    async with town.client() as client:
        handle = await client.submit(shell("true", cpu_millis=64_000))
        order = await handle.ended()

    assert order.state is State.REFUSED
    assert "no room ever" in order.reason


async def test_a_client_that_gossips_hears_room_go_and_come_back(town):
    def free(cpu_millis):
        return lambda nodes: [n["free"]["cpu_millis"] for n in nodes] == [cpu_millis]

    async with town.client(gossip=True) as client:
        await client.until_heard(free(1000))
        handle = await client.submit(LINGER)
        await client.until_heard(free(0))
        confirmed = await handle.cancel()
        await client.until_heard(free(1000))
        assert confirmed.state is State.CANCELLED


async def test_what_was_said_while_nobody_listened_is_heard_by_the_next_command(town):
    async with town.client() as client:
        handle = await client.submit(LINGER)
        await handle.placed()
        job = handle.job
    # Another home of the same person ends it; the first one hears nothing of that.
    person = open_home(town.tmp_path / "user").identity("default")
    open_home(town.tmp_path / "elsewhere").keep_identity(person)
    async with town.client("elsewhere") as elsewhere:
        await (await elsewhere.find(job)).cancel()

    async with town.client() as client:
        handle = await client.find(job)
        assert not handle.order.ended
        await handle.catch_up()
        assert handle.order.state is State.CANCELLED
    async with town.client(bootstrap=()) as client:
        assert (await client.orders())[job].state is State.CANCELLED


async def test_without_a_network_a_job_is_not_recorded(town):
    async with town.client(bootstrap=()) as client:
        with pytest.raises(NoNetworkError, match="--bootstrap"):
            await client.submit(shell("true"))
        assert await client.orders() == {}


async def test_output_is_shown_from_the_first_byte_to_the_end_of_the_job(town):
    async with town.client() as client:
        handle = await client.submit(shell("echo one; echo two; exit 1"))
        written = b"".join([piece.data async for piece in handle.output()])

    assert written == b"one\ntwo\n"


async def test_a_job_that_never_ran_has_no_output(town):
    async with town.client() as client:
        handle = await client.submit(shell("true", cpu_millis=64_000))

        assert [piece async for piece in handle.output()] == []


async def test_more_commands_at_once_than_a_session_may_have_challenges(town):
    codes = {}

    async def run(client, number):
        handle = await client.submit(shell(f"exit {number}", cpu_millis=500))
        codes[number] = (await handle.ended()).exit_code
        await handle.report()

    async with town.client() as client, trio.open_nursery() as nursery:
        for number in range(1, 25):
            nursery.start_soon(run, client, number)

    assert codes == {number: number for number in range(1, 25)}


async def test_another_job_s_output_is_an_input(town, tmp_path):
    async with town.client() as client:
        first = await client.submit(shell("echo weights > model"))
        await first.ended()
        source = parse_input(f"job:{first.job}/model:in/m")
        second = await client.submit(shell("cat in/m", inputs=(source,)))
        await second.ended()
        path = await second.fetch(tmp_path / "out")
        assert (path / "stdout").read_bytes() == b"weights\n"
        lacking = parse_input(f"job:{first.job}/nothing")
        with pytest.raises(InputsError, match="has no output nothing"):
            await client.submit(shell("true", inputs=(lacking,)))
        assert list(client.home.path.glob(".inputs-*")) == []
