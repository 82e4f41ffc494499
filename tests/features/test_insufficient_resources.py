"""Steps of the feature: insufficient resources."""

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from tests.e2e.held import hold
from tests.features.conftest import World

pytestmark = pytest.mark.real_processes
scenarios("insufficient_resources.feature")


@given(parsers.parse("a provider that asks {price:d} NTX"))
def _(world: World, price: int):
    world.node = world.net.provider("--price", price)
    world.owner.bootstrap = world.node.address


@when(parsers.parse("the user submits a job that wants {amount} {dimension}"))
def _(world: World, amount: str, dimension: str):
    world.last = world.owner.submit(f"--{dimension}", amount, world.script())
    world.document = world.last.document


@when(parsers.parse("the user submits a job for at most {price:d} NTX"))
def _(world: World, price: int):
    world.last = world.owner.submit("--max-price", price, world.script())
    world.document = world.last.document


@when("the user submits another job and leaves")
def _(world: World):
    world.queued = hold(world.owner)


@when("the user submits another job that may wait 1 second")
def _(world: World):
    world.last = world.owner.submit("--queue-timeout", "1s", world.script())


@then(parsers.parse('the job is "{state}"'))
def _(world: World, state: str):
    assert world.document["state"] == state
    assert world.owner.status(world.job)["state"] == state


@then(parsers.parse('its reason names "{what}" and "{largest}"'))
def _(world: World, what: str, largest: str):
    assert what in world.document["reason"]
    assert largest in world.document["reason"]


@then("the bids tell the refusal of the dear provider")
def _(world: World):
    bids = world.owner.status(world.job)["bids"]
    told = {bid["provider"]: bid["refused"] for bid in bids}
    assert "5" in told[world.node.did]


@then("the other job is queued with position 1, a reason and an estimate")
def _(world: World):
    assert world.queued is not None
    shown = world.owner.status(world.queued.job)
    assert shown["state"] == "queued"
    assert shown["queue"]["position"] == 1
    assert "CPU" in shown["queue"]["reason"]
    assert shown["queue"]["estimate_s"] > 0


@then("the queued job completes without the user")
def _(world: World):
    assert world.queued is not None
    world.node.moved(world.queued.job, "running")
    world.queued.tell()
    world.node.moved(world.queued.job, "completed")


@then("the user is told that it waited too long")
def _(world: World):
    shown = world.ended.document
    assert shown["state"] == "timed_out"
    assert "queue timeout" in shown["reason"]
