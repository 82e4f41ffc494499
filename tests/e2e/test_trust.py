"""Acting for others, letting them in, sharing and taking back, between processes."""

import pytest

from tests.e2e.network import NO_SUCH_JOB, NOT_RUN, Network, Node, User

ASKED_MAX = 20
"""Commands that may come before two nodes that find each other again have talked."""


def given(giver: User, to: User, can: str, *words: object) -> str:
    """Delegate, and hand the token over; return its file."""
    path = to.cwd / f"{can.replace('/', '-')}.token"
    giver.run(
        *("cap", "delegate", "--to", to.did(), "--can", can, "--out", path, *words)
    ).must()
    to.run("cap", "add", path).must()
    return str(path)


@pytest.fixture
def cold(net: Network, node: Node) -> User:
    return net.user(node)


def test_a_job_of_a_hot_session_belongs_to_the_cold_identity(cold: User, user: User):
    given(cold, user, "/nunet", "--expires", "1d")
    ended = user.submit("--name", "hot", "--", "echo", "hi").must()
    assert ended.document["owner"] == cold.did()
    assert "the result is " + cold.did() in ended.err
    link = ended.document["result"]["link"]
    cold.run("get", link, "--out", "mine").must()
    assert (cold.cwd / "mine/stdout").read_text() == "hi\n"


def test_who_may_submit_alone_places_the_job_and_leaves_it(cold: User, user: User):
    given(cold, user, "/nunet/job/submit")
    ended = user.submit("--", "echo", "hi").must()
    assert ended.document["owner"] == cold.did()
    assert "did not let you watch it" in ended.err
    joined = ("--bootstrap", user.bootstrap)
    job = ended.document["job"]
    assert cold.run("status", job, *joined).must().document["owner"] == cold.did()


def test_a_delegate_does_not_cancel_but_the_owner_does(cold: User, user: User):
    given(cold, user, "/nunet")
    job = user.detached("--", "sleep", "600")["job"]
    user.run("cancel", job).must(NO_SUCH_JOB)
    joined = ("--bootstrap", user.bootstrap)
    assert cold.run("cancel", job, *joined).must().document["state"] == "cancelled"


def test_a_shared_result_is_fetched_until_the_share_is_taken_back(
    user: User, stranger: User
):
    job = user.submit("--name", "s", "--", "echo", "shared").must().document["job"]
    token = stranger.cwd / "token"
    shown = user.run("share", job, "--to", stranger.did(), "--out", token).must()
    assert set(shown.document) == {"token", "cid", "audience", "expires"}
    joined = ("--bootstrap", user.bootstrap)
    stranger.run("get", token, "--out", "got", *joined).must()
    assert (stranger.cwd / "got/stdout").read_text() == "shared\n"
    stranger.run("logs", job, *joined).must(NO_SUCH_JOB)
    stranger.run("cancel", job, *joined).must(NO_SUCH_JOB)

    done = user.run("cap", "revoke", token, *joined).must().document
    assert (done["cid"], done["missed"]) == (shown.document["cid"], [])
    assert len(done["acknowledged"]) >= 1
    unasked = stranger.run("cap", "explain", token).must()
    assert "nobody was asked" in unasked.err
    failing = stranger.run("cap", "explain", token, *joined).must(1).document
    assert failing["links"][-1]["faults"][0]["name"] == "Revoked"
    stranger.run("cap", "explain", token).must(1)
    refused = stranger.run("get", token, "--out", "again", *joined).must(1)
    assert "has been revoked" in refused.err
    assert not (stranger.cwd / "again").exists()


def test_a_receipt_is_checked_offline(user: User, stranger: User, node: Node):
    user.submit("--name", "r", "--", "true").must()
    shown = stranger.run("receipt", "verify", user.cwd / "r").must().document
    assert (shown["valid"], shown["provider"]) == (True, node.did)
    assert shown["owner"] == user.did()


def test_a_provider_takes_those_whom_its_anchor_admits_as_often_as_it_says(
    net: Network,
):
    anchor = net.user()
    provider = net.provider("--admission", "capability", "--anchor", anchor.did())
    user, other = net.user(provider), net.user(provider)
    refused = other.submit("--", "true").must(NOT_RUN)
    assert anchor.did() in refused.document["reason"]

    given(anchor, user, "/nunet/job/submit", "--max-jobs", "1")
    shown = user.submit("--name", "one", "--", "true").must().document
    assert shown["owner"] == user.did()
    refused = user.submit("--name", "two", "--", "true").must(NOT_RUN)
    assert "all were used" in refused.document["reason"]


def test_counts_and_revocations_survive_the_end_of_the_node(net: Network):
    anchor = net.user()
    words = ("--admission", "capability", "--anchor", anchor.did())
    provider = net.provider(*words)
    one, other = net.user(provider), net.user(provider)
    given(anchor, one, "/nunet/job/submit", "--max-jobs", "1")
    token = given(anchor, other, "/nunet/job/submit")
    one.submit("--name", "one", "--", "true").must()
    joined = ("--bootstrap", provider.address)
    anchor.run("cap", "revoke", token, *joined).must()
    provider.kill()

    again = net.provider(*words, home=provider.home)
    one.bootstrap = other.bootstrap = again.address
    refused = one.submit("--name", "two", "--", "true").must(NOT_RUN)
    assert "all were used" in refused.document["reason"]
    refused = other.submit("--", "true").must(NOT_RUN)
    assert "has been revoked" in refused.document["reason"]


def test_a_listed_owner_is_let_in_and_others_are_not(net: Network):
    user, other = net.user(), net.user()
    provider = net.provider("--admission", "allow", "--allow", user.did())
    user.bootstrap = other.bootstrap = provider.address
    user.submit("--", "true").must()
    refused = other.submit("--", "true").must(NOT_RUN)
    assert "listed owners" in refused.document["reason"]


def test_an_admission_that_nobody_could_meet_does_not_start(net: Network):
    user = net.user()
    for words in (("capability",), ("allow",), ("open", "--allow", user.did())):
        ended = user.run("up", "--admission", *words).must(2)
        assert "admission" in ended.err


def test_a_provider_that_was_away_hears_of_a_revocation_on_coming_back(net: Network):
    first = net.provider()
    away = net.provider("--bootstrap", first.address)
    owner, reader = net.user(away), net.user(away)
    job = owner.submit("--name", "s", "--", "true").must().document["job"]
    assert owner.status(job)["provider"] in {first.did, away.did}
    token = reader.cwd / "token"
    owner.run("share", job, "--to", reader.did(), "--out", token).must()
    keeper = away if owner.status(job)["provider"] == away.did else first
    other = first if keeper is away else away
    keeper.kill()

    joined = ("--bootstrap", other.address)
    done = owner.run("cap", "revoke", token, *joined).must().document
    assert other.did in done["acknowledged"]

    port = keeper.address.split("/")[4]
    listen = ("--listen", f"/ip4/127.0.0.1/tcp/{port}")
    again = net.provider(*listen, *joined, home=keeper.home)
    for number in range(ASKED_MAX):
        # The two nodes compare notes as soon as they are connected, not before.
        asked = reader.run(
            *("get", token, "--out", f"got{number}", "--bootstrap", again.address)
        )
        if asked.code:
            break
    assert "has been revoked" in asked.must(1).err
