"""What somebody gets who knows names and has no leave: one answer, and no byte.

The stranger here is a host of the test's own that speaks the node's protocols over a
real connection, because no command would ask for what its user may not have.
"""

import secrets
from contextlib import suppress

import pytest
import trio

from nunet_node.network.host import open_host
from nunet_node.network.port import HostSettings
from nunet_node.network.stream import Stream, StreamBroken
from nunet_node.protocol.messages import BLOCKS_PROTOCOL, LOGS_PROTOCOL
from nunet_node.runtime.exchange.logs import Follow
from nunet_node.runtime.exchange.requests import No, Want
from nunet_node.runtime.home import open_home
from nunet_node.wire.cid import Cid
from nunet_node.wire.framing import frame
from nunet_node.wire.schema import encode_record
from tests.e2e.held import running
from tests.e2e.network import DEADLINE_S, Node, User

SECRET = b"for the owner's eyes\n"
NO = frame(encode_record(No()))


def asked(node: Node, protocol: str, *questions: object, seed: bytes = b"") -> bytes:
    """Ask a node on a connection of one's own; return every byte of its answer."""

    async def ask() -> bytes:
        settings = HostSettings(
            seed=seed or secrets.token_bytes(32), listen=(), gossip=False
        )
        with trio.fail_after(DEADLINE_S):
            async with open_host(settings) as host:
                peer = await host.connect([node.address])
                async with await host.open_stream(peer, protocol) as stream:
                    for question in questions:
                        await stream.send(encode_record(question))
                    await stream.finish()
                    return await _everything(stream)

    return trio.run(ask)


async def _everything(stream: Stream) -> bytes:
    """Return what comes until the stream is ended, or dropped."""
    answer = b""
    with suppress(StreamBroken):
        while data := await stream.receive_some():
            answer += data
    return answer


def want(*cids: Cid) -> Want:
    return Want(cids=cids)


@pytest.fixture
def kept(user: User, node: Node) -> tuple[str, list[Cid]]:
    """Return a job that has ended, and the names of its blocks that the node has."""
    user.write("secret", SECRET.decode())
    job = user.submit("--name", "kept", "--input", "secret", "--", "cat", "secret")
    document = job.must().document
    assert (user.cwd / "kept/stdout").read_bytes() == SECRET
    root = Cid.parse(document["result"]["cid"])
    here, there = (user.home / "blocks/blocks", node.home / "kept/blocks")
    names = {path.relative_to(here) for path in here.glob("*/*")}
    cids = [Cid.parse(name.name) for name in names if (there / name).exists()]
    assert root in cids
    assert len(cids) > 1
    return document["job"], cids


def test_a_block_by_its_name_is_refused_like_one_that_is_not_there(kept, node: Node):
    _, cids = kept
    absent = Cid.of_raw(secrets.token_bytes(32))
    answers = {asked(node, BLOCKS_PROTOCOL, want(cid)) for cid in (*cids, absent)}
    assert answers == {NO}


def test_many_names_at_once_are_as_many_times_no(kept, node: Node):
    _, cids = kept
    names = [*cids, Cid.of_raw(b"absent"), *cids]
    answer = asked(node, BLOCKS_PROTOCOL, want(*names), want(cids[0]))
    assert answer == NO * (len(names) + 1)


def test_a_key_that_holds_no_grant_gets_nothing_even_if_it_is_a_users(
    kept, node: Node, user: User, stranger: User
):
    stranger.submit("--", "true").must()
    _, cids = kept
    for home in (stranger.home, user.home):
        [identity] = open_home(home).identities()
        seed = identity.key.seed
        assert asked(node, BLOCKS_PROTOCOL, want(*cids), seed=seed) == NO * len(cids)


def test_the_logs_of_a_job_are_refused_like_those_of_no_job(
    kept, node: Node, user: User
):
    ended, _ = kept
    runs = running(user, node)
    answers = {
        asked(node, LOGS_PROTOCOL, Follow(job=job, attempt=attempt, follow=follow))
        for job in (ended, runs.job, "a" * 32)
        for attempt, follow in ((1, True), (1, False), (2, False))
    }
    assert answers == {NO}


def test_what_is_no_question_gets_no_answer_and_harms_nothing(kept, node: Node):
    job, cids = kept
    assert asked(node, BLOCKS_PROTOCOL, Follow(job=job, attempt=1)) == b""
    assert asked(node, LOGS_PROTOCOL, want(*cids)) == b""
    assert asked(node, BLOCKS_PROTOCOL, want(cids[0])) == NO
