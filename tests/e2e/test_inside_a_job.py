"""What a job finds where it runs, by each of the engines.

One job of each engine looks around and writes down what it sees; the tests read it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from tests.e2e.network import Document, Finished, Network, Node

LOOK = """
import json, os, pathlib, sys
seen = {
    "args": sys.argv[1:],
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "files": sorted(str(p) for p in pathlib.Path(".").rglob("*") if p.is_file()),
    "named": pathlib.Path("table.csv").read_text(),
}
pathlib.Path("a/b").mkdir(parents=True)
pathlib.Path("a/b/deep.txt").write_text("deep")
pathlib.Path("a/other.bin").write_bytes(b"\\x00\\xff")
pathlib.Path("top.txt").write_text("top")
pathlib.Path(os.environ["TMPDIR"], "left").write_text("not an output")
pathlib.Path("seen.json").write_text(json.dumps(seen))
print("to stdout")
print("to stderr", file=sys.stderr)
"""
ARGUMENTS = ("--input", "x y", "-v", "--", "--name=no", "*.txt", "")
EXIT_SEVEN = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "from wasm\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 10))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 7))))
"""


@dataclass(frozen=True)
class Look:
    """A job that looked around, and its result."""

    engine: str
    ended: Finished
    result: Path

    @property
    def seen(self) -> Document:
        found: Document = json.loads((self.result / "outputs/seen.json").read_text())
        return found

    def outputs(self) -> list[str]:
        root = self.result / "outputs"
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*.*"))


@pytest.fixture(scope="module", params=["python", "process"])
def look(request, shared: Network, node: Node) -> Look:
    user = shared.user(node)
    user.write("look.py", LOOK)
    user.write("data/table.csv", "1,2\n")
    user.write("tree/in/deep.txt", "in a tree")
    user.write("tree/top.txt", "on top")
    options = (
        *("--engine", request.param, "--name", "look", "--env", "GREETING=hi there"),
        *("--input", "data/table.csv", "--input", "tree", "--input", "tree:in/other"),
    )
    ended = user.submit(*options, "look.py", *ARGUMENTS)
    if ended.code and "bwrap" in ended.err:
        pytest.skip(f"the engine {request.param} does not hold here: {ended.err}")
    return Look(request.param, ended.must(), user.cwd / "look")


def test_the_arguments_are_the_jobs_even_if_they_look_like_options(look: Look):
    assert look.seen["args"] == list(ARGUMENTS)


def test_inputs_land_under_their_names_and_keep_their_trees(look: Look):
    assert look.seen["files"] == [
        "in/other/in/deep.txt",
        "in/other/top.txt",
        "look.py",
        "table.csv",
        "tree/in/deep.txt",
        "tree/top.txt",
    ]
    assert look.seen["named"] == "1,2\n"


def test_the_environment_is_what_was_promised_and_nothing_of_the_hosts(look: Look):
    env = look.seen["env"]
    own = {name for name in env if not name.startswith("NUNET_JOB_")}
    assert own - {"PWD"} == {"PATH", "HOME", "TMPDIR", "LANG", "GREETING"}
    assert env["GREETING"] == "hi there"
    assert look.ended.document["job"] in env.values()
    assert str(Path.home()) not in env.values()


def test_every_new_file_is_an_output_and_no_input_is(look: Look):
    outputs = ["a/b/deep.txt", "a/other.bin", "seen.json", "top.txt"]
    assert look.outputs() == outputs
    assert (look.result / "outputs/a/other.bin").read_bytes() == b"\x00\xff"


def test_both_streams_come_back_apart(look: Look):
    assert (look.result / "stdout").read_text() == "to stdout\n"
    assert (look.result / "stderr").read_text() == "to stderr\n"
    assert (look.result / "exit_code").read_text().strip() == "0"


def test_the_result_is_in_a_directory_of_the_jobs_name(look: Look):
    assert look.ended.document["result"]["path"] == str(look.result)
    found = {path.name for path in look.result.iterdir()}
    assert found == {"outputs", "stdout", "stderr", "exit_code", "receipt.cbor"}


def test_only_what_the_globs_name_is_kept(net: Network, node: Node):
    user = net.user(node)
    user.write("look.py", LOOK)
    user.write("table.csv", "")
    globs = ("--output", "**/*.txt", "--output", "a/*.bin")
    user.submit("--input", "table.csv", *globs, "look.py").must()
    root = user.cwd / "look/outputs"
    kept = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.*"))
    assert kept == ["a/b/deep.txt", "a/other.bin", "top.txt"]


def test_a_module_runs_by_its_suffix_and_its_exit_code_is_ours(
    net: Network, node: Node
):
    user = net.user(node)
    (user.cwd / "seven.wasm").write_bytes(wat2wasm(EXIT_SEVEN))
    ended = user.submit("seven.wasm", "--help").must(7)
    assert ended.document["state"] == "failed"
    assert ended.document["exit_code"] == 7
    assert (user.cwd / "seven/stdout").read_text() == "from wasm\n"


def test_a_command_starts_in_a_writable_directory_without_an_identity_of_ours(
    net: Network, node: Node
):
    user = net.user(node)
    command = "touch made && id -u && cat /proc/self/status | grep CapEff"
    ended = user.submit("--name", "who", "--", "sh", "-c", command, json=False).must()
    uid, capabilities = ended.out.splitlines()
    assert (user.cwd / "who/outputs/made").exists()
    assert capabilities.split()[1].strip("0") == ""
    if os.geteuid() == 0:
        assert uid != "0"


def test_a_job_that_says_nothing_and_writes_nothing_has_an_empty_result(
    net: Network, node: Node
):
    user = net.user(node)
    user.submit("--name", "quiet", "--", "true").must()
    assert not list((user.cwd / "quiet/outputs").glob("*"))
    assert (user.cwd / "quiet/stdout").read_bytes() == b""
