"""Many at once: commands of one home beside its node, and jobs of one owner."""

import trio

from nunet_node.client import JobFile, open_client
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.scheduler import QUEUE_PER_OWNER_MAX
from tests.e2e.held import hold, need_process, running
from tests.e2e.network import DEADLINE_S, Network, Node, User

COMMANDS = 6


def test_commands_run_at_once_beside_the_node_of_their_home(net: Network, node: Node):
    up = net.node("--no-provide", "--bootstrap", node.address)
    up.event(lambda it: it["event"] == "peer" and it["did"] == node.did)
    user = net.user(home=up.home)
    user.did()
    submits = [
        user.start("submit", "--name", f"job{n}", "--", "sh", "-c", f"exit {n}")
        for n in range(COMMANDS)
    ]
    others = [user.start(*words) for words in (("list",), ("nodes",), ("did",))]
    jobs = [each.finished().must(n).document for n, each in enumerate(submits)]
    for each in others:
        each.finished().must()
    known = user.run("list").must().document
    assert sorted(each["job"] for each in known) == sorted(j["job"] for j in jobs)
    for number, job in enumerate(jobs):
        shown = user.status(f"job{number}")
        assert (shown["job"], shown["exit_code"]) == (job["job"], number)
    assert up.stop().must().documents[-1] == {"event": "stopped"}


def test_an_owner_who_fills_the_queue_leaves_room_for_others(net: Network):
    provider = net.provider(cpus=1)
    user, other = net.user(provider), net.user(provider)
    need_process(user)
    first = running(other, provider)
    trio.run(_queue_as_many_as_may_wait, user)

    one_more = user.submitting("--", "true")
    one_more.told(f"this owner has {QUEUE_PER_OWNER_MAX} jobs waiting here")
    second = hold(other)
    assert second.document["state"] == "queued"

    first.tell()
    second.tell()
    provider.moved(second.job, "completed")
    events = provider.stop().must().documents
    ended = [it["job"] for it in events if it.get("state") == "completed"]
    # One job of the other owner, at most, had waited longer than this owner's.
    assert ended.index(first.job) < ended.index(second.job) <= 2


async def _queue_as_many_as_may_wait(user: User) -> None:
    with trio.fail_after(DEADLINE_S):
        async with open_client(user.home, bootstrap=[user.bootstrap or ""]) as client:
            for _ in range(QUEUE_PER_OWNER_MAX):
                handle = await client.submit(JobFile(command=("true",)))
                assert (await handle.placed()).state is State.QUEUED
