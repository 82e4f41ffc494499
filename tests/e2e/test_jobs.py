"""The commands about jobs that are there: finding, reading and ending them."""

import shutil

import pytest

from tests.e2e.held import Held, hold, running
from tests.e2e.network import NO_SUCH_JOB, Finished, Network, Node, User

STATUS_KEYS = {
    *("job", "name", "state", "owner", "provider", "exit_code", "reason", "result"),
    *("resources", "queue", "history", "bids"),
}


@pytest.fixture(scope="module")
def owner(shared: Network, node: Node) -> User:
    return shared.user(node)


@pytest.fixture(scope="module")
def done(owner: User) -> Finished:
    return owner.submit("--name", "done", "--", "echo", "out").must()


@pytest.fixture
def elsewhere(net: Network, owner: User) -> User:
    """Somewhere else, where the owner's identity was carried to."""
    other = net.user()
    owner.run("did", "export", "--out", other.cwd / "me.id").must()
    other.run("did", "import", "me.id").must()
    return other


def test_status_tells_all_there_is_to_tell(owner: User, done: Finished, node: Node):
    shown = owner.status(done.document["job"])
    assert set(shown) >= STATUS_KEYS
    amounts = {"cpu_millis": 1000, "memory_bytes": 256 << 20, "disk_bytes": 128 << 20}
    assert shown["resources"] == amounts
    assert shown["bids"] == [{"provider": node.did, "price": 0, "refused": None}]
    moments = [move["at"] for move in shown["history"]]
    assert moments == sorted(moments)
    assert {tuple(sorted(move)) for move in shown["history"]} == {
        ("at", "reason", "state")
    }


def test_wait_prints_what_status_prints_and_ends_with_the_jobs_code(
    owner: User, node: Node
):
    job = owner.submit("--name", "five", "--", "sh", "-c", "exit 5").must(5).document
    waited = owner.run("wait", job["job"]).must(5)
    assert waited.document == owner.status(job["job"])


@pytest.mark.parametrize("word", ["id", "prefix", "name", "link"])
def test_a_job_is_found_by(owner: User, done: Finished, word: str):
    job = done.document["job"]
    link = done.document["result"]["link"]
    words = {"id": job, "prefix": job[:9], "name": "done", "link": link}
    assert owner.status(words[word])["job"] == job


def test_a_word_that_could_mean_two_jobs_means_neither(user: User):
    first = user.submit("--name", "same", "--", "true").must().document
    user.submit("--name", "same", "--", "true").must()
    ended = user.run("cancel", "same").must(1)
    assert first["job"] in ended.err


@pytest.mark.parametrize("command", ["status", "wait", "logs", "get", "cancel"])
def test_a_job_that_never_was_is_refused_by(user: User, command: str):
    ended = user.run(command, "no-such-job").must(NO_SUCH_JOB)
    assert "no such job, or not yours" in ended.err


@pytest.mark.parametrize("command", ["status", "wait", "logs", "get", "cancel"])
def test_a_stranger_is_told_the_same_as_about_no_job_by(
    stranger: User, done: Finished, node: Node, command: str
):
    link = done.document["result"]["link"]
    job = done.document["job"]
    absent = ("b" if job[0] == "a" else "a") + job[1:]
    refused = stranger.run(command, link).must(NO_SUCH_JOB)
    nowhere = stranger.run(command, link.replace(job, absent)).must(NO_SUCH_JOB)
    assert refused.out.replace(job, absent) == nowhere.out
    assert refused.err.splitlines()[-1].replace(job, absent) in nowhere.err


@pytest.mark.parametrize("command", ["status", "logs", "get", "cancel"])
def test_the_owner_elsewhere_uses_a_bare_id_with_a_bootstrap_peer_for(
    elsewhere: User, done: Finished, node: Node, command: str
):
    join = ("--bootstrap", node.address)
    ended = elsewhere.run(command, *join, done.document["job"]).must()
    if command == "status":
        assert ended.document["state"] == "completed"
        assert ended.document["name"] == "done"


def test_the_owner_elsewhere_cancels_by_an_id(owner: User, elsewhere: User, node: Node):
    held = running(owner, node)
    process = held.process()
    join = ("--bootstrap", node.address)
    shown = elsewhere.run("cancel", *join, held.job).must().document
    assert shown["state"] == "cancelled"
    held.gone(process)
    assert owner.status(held.job)["state"] == "cancelled"


def test_list_knows_the_jobs_of_the_home_alone(user: User, stranger: User):
    job = user.submit("--name", "mine", "--", "true").must().document
    assert [each["job"] for each in user.run("list").must().document] == [job["job"]]
    assert stranger.run("list").must().document == []


def test_cancel_ends_the_whole_process_tree_and_says_so_twice(user: User, node: Node):
    held = running(user, node)
    process = held.process()
    first = user.run("cancel", held.job).must().document
    held.gone(process)
    assert set(first) >= {"job", "state", "confirmation"}
    assert (first["state"], first["confirmation"]["state"]) == ("cancelled",) * 2
    again = user.run("cancel", held.job, json=False).must()
    assert f"{held.job} was cancelled already" in again.out
    assert user.status(held.job)["state"] == "cancelled"
    user.run("wait", held.job).must(130)


def test_get_before_completion_says_what_the_state_is(user: User, node: Node):
    held = running(user, node)
    ended = user.run("get", held.job).must(1)
    assert "running" in ended.document["error"]["message"]
    user.run("cancel", held.job).must()
    ended = user.run("get", held.job).must(1)
    assert "cancelled" in ended.document["error"]["message"]
    assert not (user.cwd / "sh").exists()


def test_the_logs_of_a_job_that_ended_are_there(owner: User, done: Finished):
    ended = owner.run("logs", "done").must()
    assert ended.documents == [{"stream": "stdout", "text": "out\n"}]


def test_an_altered_block_never_reaches_the_target(net: Network):
    provider = net.provider()
    user = net.user(provider)
    job = user.detached("--name", "altered", "--", "sh", "-c", "echo original > it")
    provider.moved(job["job"], "completed")
    home = provider.home
    # The id of a chunk begins so, that of a manifest otherwise.
    [block] = [p for p in (home / "kept").rglob("bafk*") if p.is_file()]
    assert b"original" not in block.read_bytes()
    block.chmod(0o600)
    block.write_bytes(bytes(block.stat().st_size))
    ended = user.run("get", "altered")
    assert ended.code == 1, str(ended)
    assert "Traceback" not in ended.err
    assert not (user.cwd / "altered").exists()


def test_a_home_that_lost_its_orders_still_finds_the_job_by_its_link(
    user: User, node: Node
):
    job = user.submit("--", "true").must().document
    for path in user.home.glob("orders.db*"):
        path.unlink()
    shutil.rmtree(user.home / "blocks", ignore_errors=True)
    assert user.status(job["result"]["link"])["state"] == "completed"


def test_a_queued_job_is_cancelled_before_it_ever_ran(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    first = running(user, provider)
    second: Held = hold(user)
    told = user.status(second.job)
    assert told["queue"]["position"] == 1
    assert told["queue"]["estimate_s"] > 0
    assert user.run("cancel", second.job).must().document["state"] == "cancelled"
    user.run("cancel", first.job).must()
    states = [move["state"] for move in user.status(second.job)["history"]]
    assert states == ["queued", "cancelled"]
