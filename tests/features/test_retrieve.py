"""Steps of the feature: retrieve compute results."""

import pytest
from pytest_bdd import scenarios, then, when

from tests.features.conftest import World

pytestmark = pytest.mark.real_processes
scenarios("retrieve.feature")


@when("the user gets the result")
def _(world: World):
    world.result = world.owner.cwd / "result"
    world.last = world.owner.run("get", world.job, "--out", world.result)


@when("the user gets the result by the link from another machine")
def _(world: World):
    world.owner.run("did", "export", "--out", "me.id").must()
    other = world.net.user()
    other.run("did", "import", world.owner.cwd / "me.id").must()
    world.result = other.cwd / "result"
    link = world.document["result"]["link"]
    world.last = other.run("get", link, "--out", world.result)


@then("nothing of the result is in the stranger's home or directory")
def _(world: World):
    assert world.stranger is not None
    held = [p for p in world.stranger.cwd.rglob("*") if p.is_file()]
    assert not any(b"the secret result" in path.read_bytes() for path in held)
    assert [p.name for p in world.stranger.cwd.iterdir()] == ["home"]


@then("the user's directory holds no result")
def _(world: World):
    assert world.result is not None
    assert not world.result.exists()


@then("the result holds the outputs, both streams, the exit code and the receipt")
def _(world: World):
    root = world.result
    assert root is not None
    assert (root / "outputs/out/deep/secret.txt").read_text() == "the secret result"
    assert (root / "stdout").read_text().startswith("counted")
    assert (root / "stderr").read_text() == "to stderr\n"
    assert (root / "exit_code").read_text().strip() == "0"
    assert (root / "receipt.cbor").stat().st_size > 0


@then("the job's document has a link to the result")
def _(world: World):
    result = world.document["result"]
    assert result["link"].startswith("nunet://")
    assert world.job in result["link"]
    assert world.owner.did() in result["link"]
    assert result["cid"].startswith("b")
