"""Whatever is given wrong: one line that names it, the right code, nothing left."""

import pytest

from tests.e2e.network import LOOPBACK, NOT_RUN, USAGE, Finished, Network, Node

NOWHERE = (
    "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWCT6ovE33XdixHqATog68PznLorgNQpNWZK5RXNThAaWz"
)


def assert_one_line(ended: Finished, code: int, *names: str) -> None:
    ended.must(code)
    lines = [line for line in ended.err.splitlines() if "made identity" not in line]
    assert len(lines) == 1, str(ended)
    assert all(name in lines[0] for name in names), str(ended)
    assert set(ended.document) == {"error"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("submit", "--bootstrap", "nonsense", "--", "true"), ("nonsense",)),
        (("submit", "--memory", "lots", "--", "true"), ("lots",)),
        (("submit", "--timeout", "soon", "--", "true"), ("soon",)),
        (("submit", "--frobnicate", "--", "true"), ("--frobnicate",)),
        (("submit", "absent.py"), ("absent.py",)),
        (("submit", "absent.yaml"), ("absent.yaml",)),
        (("submit", "--engine", "docker", "--", "true"), ("docker",)),
        (("up", "--listen", "tcp://0.0.0.0:4040"), ("tcp://0.0.0.0:4040",)),
        (("up", "--cpus", "-1"), ("-1",)),
        (("up", "--config", "absent.toml"), ("absent.toml",)),
        (("status", "nunet://nonsense"), ("nonsense",)),
        (("frobnicate",), ("frobnicate",)),
        (("submit",), ("JOB",)),
    ],
)
def test_what_is_written_wrong_ends_with_code_2(
    net: Network, words: tuple[str, ...], names: tuple[str, ...]
):
    user = net.user()
    assert_one_line(user.run(*words), USAGE, *names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("version: 1\nscritp: a.py\n", ("scritp", "'script'")),
        ("version: 2\nscript: a.py\n", ("version",)),
        ("version: 1\ncommand: [a]\nresources: {memroy: 1GiB}\n", ("'memory'",)),
        ("version: 1\ncommand: [a]\ntimeouts: {run: soon}\n", ("soon",)),
        ("version: 1\ncommand: [a]\nname: [b\n", ("job.yaml",)),
        ("version: 1\n", ("job.yaml",)),
        ("&a [*a, *a]\n", ("job.yaml",)),
    ],
)
def test_a_wrong_job_file_is_refused_by_its_line(
    net: Network, node: Node, text: str, names: tuple[str, ...]
):
    user = net.user(node)
    user.write("job.yaml", text)
    assert_one_line(user.run("spec", "validate", "job.yaml"), USAGE, *names)
    if "scritp" in text:
        assert_one_line(user.submit("job.yaml"), USAGE, *names)
        assert user.run("list").must().document == []


def test_a_home_below_a_file_is_refused_with_its_name(net: Network):
    user = net.user()
    user.home = user.write("file", "") / "home"
    for words in (("did",), ("list",), ("up", "--listen", LOOPBACK, "--no-mdns")):
        assert_one_line(user.run(*words), 1, str(user.home.parent))


def test_a_port_in_use_is_named(net: Network, node: Node):
    listen = node.address.partition("/p2p/")[0]
    user = net.user()
    assert_one_line(
        user.run("up", "--listen", listen, "--no-mdns"), 1, listen.split("/")[4], "use"
    )


def test_a_network_that_is_not_there_is_said_with_the_remedy(net: Network):
    user = net.user()
    user.bootstrap = NOWHERE
    assert_one_line(
        user.submit("--", "true"), NOT_RUN, "/ip4/127.0.0.1/tcp/9", "--bootstrap"
    )
    assert user.run("list").must().document == []


def test_a_misspelt_configuration_is_refused_with_the_right_name(net: Network):
    user = net.user()
    file = user.write("node.toml", "memroy = '1GiB'\n")
    assert_one_line(user.run("up", "--config", file), USAGE, "'memory'", "node.toml")
    assert not user.home.exists()


@pytest.mark.parametrize(
    "command",
    ["up", "submit", "list", "status", "wait", "logs", "get", "cancel", "nodes"],
)
def test_every_command_has_help_that_names_a_next_one(net: Network, command: str):
    ended = net.user().run(command, "--help", json=False).must()
    assert "nunet-node" in ended.out.partition("Usage: nunet-node")[2]
