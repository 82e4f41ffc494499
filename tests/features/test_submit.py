"""Steps of the feature: submit a compute job."""

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from tests.e2e.held import running
from tests.features.conftest import World

pytestmark = pytest.mark.real_processes
scenarios("submit.feature")


@given(parsers.parse('a job file that says "{text}"'))
def _(world: World, text: str):
    script = world.script()
    world.owner.write("job.yaml", f"version: 1\nscript: {script}\n{text}\n")


@when("the user submits the job file")
def _(world: World):
    world.last = world.owner.submit("job.yaml")


@when(parsers.parse('the user submits a job as the identity "{name}"'))
def _(world: World, name: str):
    world.last = world.owner.submit("--identity", name, world.script())


@when(parsers.parse('the user submits a job with the input "{name}"'))
def _(world: World, name: str):
    world.last = world.owner.submit("--input", name, world.script())


@when("the user submits a job and leaves")
def _(world: World):
    world.document = world.owner.detached(world.script())


@when("the user starts a job that runs until it is told to end")
def _(world: World):
    world.held = running(world.owner, world.node)
    world.document = world.held.document


@when("the provider has completed the job")
def _(world: World):
    world.node.moved(world.job, "completed")


@then("the provider challenged the DID before it accepted")
def _(world: World):
    told = world.ended.err
    assert 0 <= told.find("challenged our DID for submit") < told.find("accepted by")


@then("the provider's job belongs to the user's DID")
def _(world: World):
    assert world.node.moved(world.job, "running")["owner"] == world.owner.did()


@then("the job's document names the user and the provider")
def _(world: World):
    assert world.document["owner"] == world.owner.did()
    assert world.document["provider"] == world.node.did


@then("the job's history runs from allocated to completed")
def _(world: World):
    told = [move["state"] for move in world.owner.status(world.job)["history"]]
    moves = ["allocated", "starting", "running", "storing", "completed"]
    assert [state for state in told if state != "queued"] == moves


@then(parsers.parse('the user was told of "{a}", "{b}" and "{c}" in this order'))
def _(world: World, a: str, b: str, c: str):
    told = world.ended.err
    assert 0 <= told.find(f"  {a}") < told.find(f"  {b}") < told.find(f"  {c}")
