"""Steps of the feature: cancel a compute job."""

import pytest
from pytest_bdd import parsers, scenarios, then, when

from tests.features.conftest import World

pytestmark = pytest.mark.real_processes
scenarios("cancel.feature")


@when("the user cancels the job")
def _(world: World):
    world.last = world.owner.run("cancel", world.job)


@when("the user cancels the queued job")
def _(world: World):
    assert world.queued is not None
    world.last = world.owner.run("cancel", world.queued.job)


@then(parsers.parse('the queued job is "{state}"'))
def _(world: World, state: str):
    assert world.queued is not None
    assert world.owner.status(world.queued.job)["state"] == state


@then(parsers.parse('the confirmation says that the job had ended as "{state}"'))
def _(world: World, state: str):
    shown = world.ended.document
    assert shown["state"] == state
    assert shown["confirmation"]["already_ended"] is True
    assert world.owner.status(world.job)["state"] == state


@then(
    parsers.parse('the confirmation names the job, its owner and the state "{state}"')
)
def _(world: World, state: str):
    shown = world.ended.document
    assert (shown["job"], shown["state"]) == (world.job, state)
    confirmation = shown["confirmation"]
    assert confirmation["job"] == world.job
    assert confirmation["owner"] == world.owner.did()
    assert confirmation["state"] == state
