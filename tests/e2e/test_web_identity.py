"""An owner who is a did:web, over real sockets: libp2p on one side, HTTPS on the other.

The provider is a peer of this process, because which certificates and which addresses
it trusts are arguments of its fetch, and no setting that somebody could leave on.
"""

from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
import trio

from nunet_node.client import ClientError, JobFile, open_client
from nunet_node.client.trust.delegating import Grant, delegate, share
from nunet_node.identity.did import Documents
from nunet_node.jobs.lifecycle import State
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.home import open_home
from nunet_node.runtime.naming import documents
from nunet_node.runtime.peer import open_peer
from nunet_node.runtime.settings import PeerSettings, Provide
from nunet_node.runtime.wallet.tokens import keep_token
from tests.executors_kit import need
from tests.web_kit import open_web

ROOM = ResourceVector(cpu_millis=1000, memory_bytes=512 << 20, disk_bytes=512 << 20)
LINGER = JobFile(name="linger", command=("sleep", "600"))
FAR_S = 4_000_000_000


def shell(script, **said):
    return JobFile(command=("/bin/sh", "-c", script), **said)


class Town:
    """A provider that looks did:webs up, and an owner who is one."""

    def __init__(self, tmp_path, web, settings, provider):
        self.settings = settings
        self.tmp_path = tmp_path
        self.web = web
        self.provider = provider
        self.did = web.did("alice")
        self.home = open_home(tmp_path / "alice")
        self.key = self.home.new_identity("web", web=self.did).key
        web.publish(self.did, self.key.key_did)

    @asynccontextmanager
    async def client(self, name="alice", identity="web"):
        with trio.fail_after(100):
            async with open_client(
                self.tmp_path / name,
                identity=identity,
                bootstrap=self.provider.addresses(),
            ) as client:
                yield client


@pytest.fixture
async def town(tmp_path):
    await need("process")
    home = open_home(tmp_path / "provider")
    async with open_web(tmp_path) as web:
        settings = PeerSettings(
            home=home,
            key=home.node_key(),
            listen=("/ip4/127.0.0.1/tcp/0",),
            is_node=True,
            provide=Provide(offer=lambda _found: ROOM),
            gossip=True,
            drain_s=0,
            web=web.fetch,
        )
        async with open_peer(settings) as provider:
            yield Town(tmp_path, web, settings, provider)


async def test_a_job_of_a_did_web_runs_and_its_result_opens(town, tmp_path):
    async with town.client() as client:
        handle = await client.submit(shell("echo secret"))
        order = await handle.ended()
        path = await handle.fetch(tmp_path / "out")

    assert (order.state, order.owner) == (State.COMPLETED, town.did)
    assert (path / "stdout").read_text() == "secret\n"
    (job,) = town.provider.jobs.values()
    assert job.owner == town.did
    assert town.web.asked == ["/alice/did.json"]


async def test_logs_of_a_job_that_it_cancels_are_its_own(town):
    async with town.client() as client:
        handle = await client.submit(shell("echo here; sleep 600"))
        async with aclosing(handle.output()) as pieces:
            assert (await anext(pieces)).data == b"here\n"
        confirmed = await handle.cancel()
        order = await handle.ended()
        pieces = [piece.data async for piece in handle.output()]

    assert confirmed is not None
    assert (order.state, order.owner) == (State.CANCELLED, town.did)
    assert b"".join(pieces) == b"here\n"


async def test_a_key_that_left_the_document_is_nobody(town, monkeypatch):
    monkeypatch.setattr(documents, "FRESH_S", 0)
    async with town.client() as client:
        handle = await client.submit(LINGER)
        await handle.started()
        new = town.home.new_identity("next", web=town.did).key
        town.web.publish(town.did, new.key_did)
        with pytest.raises(ClientError, match="signature does not hold"):
            await handle.report()
    async with town.client(identity="next") as client:
        found = await client.find(handle.job)
        assert await found.cancel() is not None


async def test_who_was_given_a_part_does_it_in_its_name(town, tmp_path):
    hot_home = open_home(tmp_path / "hot")
    hot = hot_home.new_identity("hot")
    grant = Grant(to=hot.did, command="/nunet/job", expires_at_s=FAR_S)
    keep_token(
        hot_home,
        delegate(town.home, town.key, grant).token,
        Documents(found={town.did: town.home.known_document("web")}),
    )

    async with town.client("hot", "hot") as client:
        handle = await client.submit(shell("echo hot"), owner=town.did)
        order = await handle.ended()
    async with town.client() as client:
        found = await client.find(order.link)
        path = await found.fetch(tmp_path / "out")

    assert (order.state, order.owner) == (State.COMPLETED, town.did)
    assert (path / "stdout").read_text() == "hot\n"


async def test_a_node_that_asks_no_servers_says_so(town, tmp_path):
    home = open_home(tmp_path / "other")
    settings = replace(town.settings, home=home, key=home.node_key(), web=None)
    async with open_peer(settings) as provider:
        town.provider = provider
        async with town.client() as client:
            handle = await client.submit(LINGER)
            order = await handle.ended()
    assert order.state is State.REFUSED
    assert "'web' is not spoken" in order.reason
    assert "nunet-node up --did-web" in order.reason
    assert town.web.asked == []


async def test_a_reader_that_is_a_did_web_opens_what_is_shared_with_it(town, tmp_path):
    home = open_home(tmp_path / "bob")
    did = town.web.did("bob")
    bob = home.new_identity("web", web=did).key
    town.web.publish(did, bob.key_did)
    found = Documents(
        found={
            did: home.known_document("web"),
            town.did: town.home.known_document("web"),
        }
    )
    async with town.client() as client:
        handle = await client.submit(shell("echo shared"))
        order = await handle.ended()
    token = share(town.home, town.key, order, did, FAR_S, found).token
    keep_token(home, token, found)

    async with town.client("bob") as client:
        read = await client.find(order.link)
        path = await read.fetch(tmp_path / "there")
    assert (path / "stdout").read_text() == "shared\n"
