"""Identities: made at first need, shown, and carried between homes."""

import stat
from pathlib import Path

from tests.e2e.network import Network, Node, User


def test_the_first_command_that_needs_an_identity_makes_one_and_says_so(net: Network):
    user = net.user()
    first = user.run("did").must()
    assert "made identity" in first.err
    shown = first.document
    assert set(shown) == {"did", "name", "path"}
    assert shown["did"].startswith("did:key:z6Mk")
    assert stat.S_IMODE(Path(shown["path"]).stat().st_mode) == 0o600
    again = user.run("did").must()
    assert again.document == shown
    assert "made identity" not in again.err


def test_the_node_is_not_the_user(net: Network):
    provider = net.node("--no-provide")
    user = net.user(provider, home=provider.home)
    assert user.did() != provider.did


def test_an_identity_goes_by_a_private_file_from_home_to_home(net: Network):
    here, there = net.user(), net.user()
    made = here.run("did", "create", "work").must().document
    file = here.cwd / "work.id"
    here.run("did", "export", "work").must()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    taken = there.run("did", "import", file, "--name", "office").must().document
    assert (taken["did"], taken["name"]) == (made["did"], "office")
    here.run("did", "export", "work").must(1)
    here.run("did", "create", "work").must(1)


def test_what_is_no_identity_is_not_imported(net: Network):
    user = net.user()
    user.write("bad.id", "not an identity")
    ended = user.run("did", "import", "bad.id").must(1)
    assert "bad.id" in ended.err
    assert user.run("did", "list").must().document == []


def test_a_job_belongs_to_the_identity_that_submits_it(user: User, node: Node):
    made = user.run("did", "create", "work").must().document
    job = user.submit("--identity", "work", "--", "true").must().document
    assert job["owner"] == made["did"]
    user.run("get", job["job"], "--out", "mine").must()


def test_a_key_that_others_can_read_is_refused_with_the_remedy(net: Network):
    user = net.user()
    path = user.run("did").must().document["path"]
    Path(path).chmod(0o644)
    ended = user.run("did").must(1)
    assert path in ended.err
    assert "chmod" in ended.err
