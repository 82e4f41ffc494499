"""Who knows docs/protocol alone can place a job, follow it and read its result.

`stranger/` imports nothing of the package; the node is a process by the command line.
"""

from pathlib import Path

import pytest

from tests.e2e.network import network
from tests.interop.stranger import client, trees, wire
from tests.interop.stranger.client import RESOURCES, Job
from tests.interop.stranger.session import stranger
from tests.interop.stranger.wire import Identity

COPY = """
print("begun", flush=True)
with open("words", "rb") as words, open("made", "wb") as made:
    made.write(words.read()[::-1])
"""
WORDS = bytes(range(256)) * 6000
"""More than one chunk, and its result more than one piece."""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with network(tmp_path_factory.mktemp("interop")) as made:
        yield made.provider(cpus=4)


@pytest.fixture
async def guest(node):
    async with stranger(node.address, node.did) as made:
        yield made


@pytest.fixture
async def session(guest):
    async with guest.session() as made:
        yield made


@pytest.fixture
async def engine(session):
    found = await client.adverts(session)
    mine = next(each for each in found if each.issuer == session.node_did)
    engines = [each["engine"] for each in mine.value["engines"]]
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


def test_the_client_is_a_stranger_to_the_package():
    modules = sorted(Path(client.__file__).parent.glob("*.py"))
    assert len(modules) == 4
    for module in modules:
        assert "import nunet_node" not in module.read_text()
        assert "from nunet_node" not in module.read_text()


async def test_a_job_goes_from_a_bid_to_its_result(guest, session, engine, owner):
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
