"""The steps that several features share, and the world in which they happen.

A scenario has one provider, one user and the command that ran last. Where it fills
the provider or stops it, the provider is its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from tests.e2e.held import Held, hold, running
from tests.e2e.network import Document, Finished, Network, Node, User, network

SCRIPT = """
import os, pathlib, sys
print("counted", os.environ["NUNET_JOB_NAME"] if "NUNET_JOB_NAME" in os.environ else "")
print("to stderr", file=sys.stderr)
pathlib.Path("out/deep").mkdir(parents=True)
pathlib.Path("out/deep/secret.txt").write_text("the secret result")
"""


@dataclass
class World:
    """What a scenario has done so far."""

    net: Network
    node: Node
    user: User | None = None
    stranger: User | None = None
    last: Finished | None = None
    document: Document = field(default_factory=dict)
    held: Held | None = None
    queued: Held | None = None
    since: int = 0
    result: Path | None = None

    @property
    def owner(self) -> User:
        assert self.user is not None
        return self.user

    @property
    def ended(self) -> Finished:
        assert self.last is not None
        return self.last

    @property
    def job(self) -> str:
        found: str = self.document["job"]
        return found

    def script(self) -> str:
        return self.owner.write("count.py", SCRIPT).name


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with network(tmp_path_factory.mktemp("roomy")) as made:
        yield made.provider(cpus=8, memory="2GiB", disk="2GiB")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


@pytest.fixture
def begun() -> Iterator[list[tuple[Node, Held]]]:
    """The jobs that a scenario holds; what runs longer is ended with it."""
    held: list[tuple[Node, Held]] = []
    yield held
    for node, job in held:
        if (process := job.find()) is not None:
            process.terminate()
            node.moved(job.job, "storing")


@given("a provider", target_fixture="world")
def _(net: Network, roomy: Node) -> World:
    return World(net=net, node=roomy, since=len(roomy.out))


@given("a provider with room for one job", target_fixture="world")
def _(net: Network) -> World:
    return World(net=net, node=net.provider(cpus=1, memory="512MiB", disk="512MiB"))


@given("a user")
def _(world: World):
    world.user = world.net.user(world.node)


@given("a completed job")
def _(world: World):
    world.document = world.owner.detached(world.script())
    world.node.moved(world.job, "completed")
    world.document = world.owner.run("wait", world.job).must().document


@given("a running job")
def _(world: World, begun: list[tuple[Node, Held]]):
    world.held = running(world.owner, world.node)
    begun.append((world.node, world.held))
    world.document = world.held.document


@given("a queued job")
def _(world: World):
    world.queued = hold(world.owner)
    assert world.queued.document["state"] == "queued"


@when("the user submits a job and waits")
def _(world: World):
    world.last = world.owner.submit(world.script()).must()
    world.document = world.last.document


@when("the job is told to end")
def _(world: World):
    assert world.held is not None
    world.held.tell()
    world.node.moved(world.job, "completed")


@when(parsers.parse("a stranger asks to {command} the job by its {reference}"))
def _(world: World, command: str, reference: str):
    world.stranger = world.net.user(world.node)
    join = ("--bootstrap", world.node.address)
    link = world.document["result"]["link"] if reference == "link" else ""
    world.last = world.stranger.run(command, *join, link or world.job)


@then(parsers.parse("the command fails with exit code {code:d}"))
def _(world: World, code: int):
    world.ended.must(code)


@then("the command succeeds")
def _(world: World):
    world.ended.must()


@then(parsers.parse('it names "{text}"'))
def _(world: World, text: str):
    assert text in world.ended.err


@then("the provider has no job of the user")
def _(world: World):
    did = world.owner.did()
    lines = world.node.out.text().splitlines()[world.since :]
    assert not any(did in line for line in lines)


@then("the stranger is told what everybody is told about no job at all")
def _(world: World):
    assert world.stranger is not None
    absent = world.job[:-4] + ("aaaa" if world.job[-4:] != "aaaa" else "bbbb")
    join = ("--bootstrap", world.node.address)
    other = world.stranger.run(world.ended.words[0], *join, absent).must(3)
    heard, wanted = world.ended.document["error"], other.document["error"]
    assert heard["code"] == wanted["code"]
    assert heard["message"].replace(world.job, absent) == wanted["message"]


@then("the job is still running")
def _(world: World):
    assert world.owner.status(world.job)["state"] == "running"


@then("the provider shows all its room")
def _(world: World):
    world.owner.hears(world.node, lambda it: bool(it) and it["free"] == it["total"])


@then("the provider shows less room")
def _(world: World):
    def less(heard: Document | None) -> bool:
        sizes = heard["total"] if heard else {}
        return bool(heard) and all(heard["free"][s] < sizes[s] for s in sizes)

    world.owner.hears(world.node, less)
