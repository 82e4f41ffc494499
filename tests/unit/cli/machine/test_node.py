"""``up`` lays its options over its file, and tells what happens in one line each."""

import json

import pytest

from nunet_node.cli.machine.node import _config, _line, _row, up_command
from nunet_node.cli.main import run
from nunet_node.quantities import ResourceVector


def config(*words):
    context = up_command.make_context("up", list(words))
    with context:
        return _config(**context.params)


def test_without_a_word_everything_is_offered_for_nothing():
    made = config()

    assert made.provide
    assert made.mdns
    assert made.price_micro_ntx == 0
    assert made.offer(ResourceVector(cpu_millis=7)).cpu_millis == 7


def test_options_override_the_file(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('cpus = 4\nmemory = "8GiB"\nprice = 1\n')

    made = config("--config", str(file), "--cpus", "2", "--price", "0.25", "--no-mdns")

    offered = made.offer(ResourceVector())
    assert (offered.cpu_millis, offered.memory_bytes) == (2000, 8 << 30)
    assert made.price_micro_ntx == 250_000
    assert not made.mdns


def test_a_node_may_provide_nothing():
    assert not config("--no-provide").provide


def test_addresses_are_repeatable():
    listen = ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0")

    assert config("--listen", listen[0], "--listen", listen[1]).listen == listen


@pytest.mark.parametrize(
    "words",
    [
        ["--cpus", "many"],
        ["--memory", "8XB"],
        ["--price", "-1"],
        ["--listen", "127.0.0.1:4040"],
        ["--bootstrap", "/ip4/127.0.0.1/tcp/1"],
    ],
)
def test_a_wrong_option_ends_the_command_with_code_2(words, capsys):
    assert run(["up", *words]) == 2
    assert words[1] in capsys.readouterr().err


def test_a_wrong_file_is_named_with_its_key(tmp_path, capsys):
    file = tmp_path / "node.toml"
    file.write_text("memroy = 1\n")

    assert run(["--json", "up", "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "config.invalid"
    assert "did you mean 'memory'" in err


ROOM = {"cpu_millis": 1500, "memory_bytes": 1 << 30, "disk_bytes": 0}


def test_events_are_told_in_one_line():
    job = {
        "event": "job",
        "job": "j",
        "owner": "did:x",
        "state": "lost",
        "reason": "a\nb",
    }
    peer = {"event": "peer", "did": "did:key:12345678", "free": ROOM}

    assert _line(job) == "job j of …did:x: lost (a\\x0ab)"
    assert _line(peer) == "heard …12345678: free 1.5 CPU, 1GiB, 0B disk"
    assert _line({"event": "warning", "message": "gone"}) == "gone"


def test_a_node_is_a_row_for_people():
    node = {
        "did": "did:key:12345678",
        "engines": [],
        "free": ROOM,
        "total": ROOM,
        "queued": 2,
        "price": 0,
        "seen_s": 3,
    }

    assert _row(node)[1] == "none"
    assert _row(node)[-1] == "3 s ago"
