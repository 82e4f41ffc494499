"""Who knows docs/protocol alone can place a job, follow it and read its result.

`stranger/` imports nothing of the package; the node is a process by the command line.
"""

from pathlib import Path

import pytest
import trio

from tests.e2e.network import network
from tests.interop.stranger import chain, client, schema, trees, wire
from tests.interop.stranger.client import RESOURCES, Job
from tests.interop.stranger.session import DEADLINE_S, RefusedError, listener, stranger
from tests.interop.stranger.wire import Identity

COPY = """
print("begun", flush=True)
with open("words", "rb") as words, open("made", "wb") as made:
    made.write(words.read()[::-1])
"""
MAKE = """
with open("made", "w") as made:
    made.write("made")
"""
WAIT = """
import time
print("begun", flush=True)
time.sleep(900)
"""
NOT_YOURS = {"code": "job.unknown", "reason": "no such job, or not yours"}
WORDS = bytes(range(256)) * 6000
"""More than one chunk, and its result more than one piece."""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    with network(tmp_path_factory.mktemp("interop")) as made:
        yield made


@pytest.fixture(scope="module")
def node(net):
    return net.provider(cpus=4)


@pytest.fixture
async def guest(node):
    async with stranger(node.address, node.did) as made:
        yield made


@pytest.fixture
async def session(guest):
    async with guest.session() as made:
        yield made


@pytest.fixture
async def engines(session):
    found = await client.adverts(session)
    mine = next(each for each in found if each.issuer == session.node_did)
    return [each["engine"] for each in mine.value["engines"]]


@pytest.fixture
def engine(engines):
    return "process" if "process" in engines else "python"


@pytest.fixture
def owner():
    return Identity()


def spec_of(engine, tree):
    """A specification that runs `job.py` of a tree, in either engine."""
    return {
        "name": "interop",
        "engine": engine,
        "command": ["python3", "job.py"] if engine == "process" else ["job.py"],
        "inputs": wire.link(tree.root),
        "inputs_bytes": tree.size_bytes,
        "resources": RESOURCES,
        "timeouts": {"run_s": 60},
    }


def tree_of(script, **files):
    return trees.pack({"job.py": script.encode(), **files})


async def placed(guest, session, engine, owner, script):
    """Submit a job and hand its inputs over."""
    tree = tree_of(script)
    job = Job(owner, spec_of(engine, tree))
    await client.submit(session, job)
    await client.hand_over(guest, job, tree)
    return job


async def refusal(session, signer, command, job):
    """Return what a command on a job is refused with."""
    with pytest.raises(RefusedError) as refused:
        await session.command(signer, signer.did, command, {"job": job.id})
    return refused.value.refusal


def test_the_client_is_a_stranger_to_the_package():
    modules = sorted(Path(client.__file__).parent.glob("*.py"))
    assert len(modules) == 6
    for module in modules:
        assert "import nunet_node" not in module.read_text()
        assert "from nunet_node" not in module.read_text()


@pytest.mark.parametrize("engine", ["process", "python"])
async def test_a_job_goes_from_a_bid_to_its_result(
    guest, session, engines, engine, owner
):
    if engine not in engines:
        pytest.skip(f"the engine `{engine}` does not hold here: see nunet-node doctor")
    tree = tree_of(COPY, words=WORDS)
    job = Job(owner, spec_of(engine, tree))
    bid = await client.bid(session, job.spec)
    assert bid.value["price_micro_ntx"] == 0
    accepted = await client.submit(session, job)
    assert accepted.value["wants_inputs"] is True
    assert await client.hand_over(guest, job, tree) == len(tree.blocks)
    ended = await client.follow_to(session, job, "completed")
    receipt, files = await client.result(guest, session, job)
    assert files == {
        "stdout": b"begun\n",
        "stderr": b"",
        "exit_code": b"0\n",
        "outputs/made": WORDS[::-1],
    }
    assert receipt.value["result"] == ended.value["result"]
    assert receipt.value["result_bytes"] == sum(map(len, files.values()))
    report = await client.told(session, owner, "status", "job-report", {"job": job.id})
    assert report.value["state"] == "completed"
    assert [each["state"] for each in report.value["history"]] == [
        each.value["state"] for each in job.notices
    ]


async def test_what_a_node_offers_is_heard_by_whoever_gossips(node):
    topic = client.ADVERTS.removeprefix("topic:")
    async with listener(node.address, node.did, topic) as (guest, heard):
        advert = None
        with trio.fail_after(DEADLINE_S):
            while advert is None or advert.issuer != node.did:
                message = await heard.get()
                advert = wire.open_statement(message.data, "advert", client.ADVERTS)
    schema.check("advert", advert.value)
    assert advert.value["peer_id"] == str(guest.node_peer)
    assert node.address in advert.value["addresses"]


async def test_who_was_given_the_key_reads_with_the_product_s_own_commands(
    net, node, guest, session, engine, owner
):
    job = await placed(guest, session, engine, owner, MAKE)
    last = await client.follow_to(session, job, "completed")
    friend = net.user(node)
    to, root = friend.did(), wire.linked(last.value["result"])
    key = trees.result_key(last.value["sealed_key"], owner, job.id, root)
    policy = [["==", ".job", job.id]]
    meta = {
        "nunet/link": last.value["link"],
        "nunet/sealed-key": trees.key_for(to, key, job.id, root),
    }
    given = wire.delegate(owner, to, "/nunet/result/read", policy, meta)
    token = friend.write("token", wire.parcel(given) + "\n")
    friend.run("cap", "add", token).must()
    friend.run("get", last.value["link"], "--out", "got").must()
    assert (friend.cwd / "got/outputs/made").read_text() == "made"
    assert (friend.cwd / "got/receipt.cbor").exists()


async def _what_it_wrote_is_kept(guest, session, owner, job):
    report = await client.told(session, owner, "status", "job-report", {"job": job.id})
    frames = [each async for each in client.logs(guest, job, chain=True)]
    assert frames.pop()["kind"] == "end"
    kept = chain.opened([each["data"] for each in frames], owner, job.id, 1)
    assert kept.links == report.value["log_links"]
    assert kept.digest == report.value["log_digest"]
    assert (kept.stdout, kept.stderr) == (b"begun\n", b"")


async def test_logs_are_followed_until_the_owner_cancels(guest, session, engine, owner):
    job = await placed(guest, session, engine, owner, WAIT)
    await client.follow_to(session, job, "running")
    async with guest.session() as other:
        await client.told(other, owner, "logs", "job-report", {"job": job.id})
        following = client.logs(guest, job)
        piece = await anext(following)
        assert piece == {"kind": "piece", "stream": "stdout", "data": b"begun\n"}
        confirmed = await client.told(
            other, owner, "cancel", "confirmation", {"job": job.id}
        )
        assert confirmed.value["state"] == "cancelled"
        assert [each["kind"] async for each in following] == ["end"]
        await _what_it_wrote_is_kept(guest, other, owner, job)
        again = await client.told(
            other, owner, "cancel", "confirmation", {"job": job.id}
        )
        assert again.value["already_ended"] is True
    await client.follow_to(session, job, "cancelled")


async def test_the_notices_of_a_job_can_be_had_again(guest, session, engine, owner):
    job = await placed(guest, session, engine, owner, COPY)
    await client.follow_to(session, job, "completed", "failed")
    async with guest.session() as other:
        await client.told(other, owner, "watch", "job-report", {"job": job.id})
        again = Job(owner, job.spec, job.salt)
        await client.follow_to(other, again, job.state)
    assert [each.data for each in again.notices] == [each.data for each in job.notices]
    async with guest.session() as other:
        args = {"job": job.id, "after": len(job.notices) - 1}
        await client.told(other, owner, "watch", "job-report", args)
        assert (await other.next_notice(owner.did)).data == job.notices[-1].data


async def test_another_s_job_and_no_job_are_one_answer(
    node, guest, session, engine, owner
):
    job = await placed(guest, session, engine, owner, WAIT)
    await client.follow_to(session, job, "running")
    other, nothing = Identity(), Job(owner, {**job.spec, "name": "another"})
    async with guest.session() as asking:
        for command in ("status", "watch", "logs", "cancel"):
            name = f"/nunet/job/{command}"
            assert await refusal(asking, other, name, job) == NOT_YOURS
            assert await refusal(asking, other, name, nothing) == NOT_YOURS
        for each in (job, nothing):
            answer = await refusal(asking, other, "/nunet/result/read", each)
            assert answer == NOT_YOURS
    async with stranger(node.address, node.did) as third:
        for each in (job, nothing):
            assert [p async for p in client.logs(third, each)] == [{"kind": "no"}]
    await client.told(session, owner, "cancel", "confirmation", {"job": job.id})


async def test_a_friend_may_do_what_the_owner_delegated(guest, session, engine, owner):
    job = await placed(guest, session, engine, owner, WAIT)
    friend = Identity()
    policy = [["==", ".job", job.id]]
    proof = wire.delegate(owner, friend.did, "/nunet/job/status", policy)
    asked = {"job": job.id}
    body = await session.command(
        friend, owner.did, "/nunet/job/status", asked, (proof,)
    )
    report = session.opened(body, "job-report", owner.did)
    assert report.value["job"] == job.id
    for command, args, code in (
        ("/nunet/job/cancel", asked, "capability.claim"),
        ("/nunet/job/status", {"job": "a" * 32}, "capability.policy"),
    ):
        with pytest.raises(RefusedError) as refused:
            await session.command(friend, owner.did, command, args, (proof,))
        assert refused.value.refusal["code"] == code
    await client.told(session, owner, "cancel", "confirmation", asked)
