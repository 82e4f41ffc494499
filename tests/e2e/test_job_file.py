"""Jobs that are written down: the file's options, and what overrides them."""

import json

from tests.e2e.network import Network, Node, User

WHOLE = """
version: 1
name: whole
script: prog/main.py
args: [from-file, 2]
inputs: ["data:tables", "note.txt"]
outputs: ["kept/**"]
env: {LEVEL: low, OTHER: "yes"}
resources: {cpus: 0.5, memory: 64MiB, disk: 32MiB}
timeouts: {run: 5m, queue: 1h}
retry: {attempts: 2, on: [lost, failed]}
max_price: 1
"""
PROGRAM = """
import json, os, pathlib, sys
pathlib.Path("kept/in").mkdir(parents=True)
seen = {
    "args": sys.argv[1:],
    "level": os.environ["LEVEL"],
    "other": os.environ["OTHER"],
    "table": pathlib.Path("tables/a/one.csv").read_text(),
    "note": pathlib.Path("note.txt").read_text(),
}
pathlib.Path("kept/in/seen.json").write_text(json.dumps(seen))
pathlib.Path("left.txt").write_text("left")
"""


def test_a_job_file_says_all_that_options_say_and_options_override_it(
    user: User, node: Node
):
    user.write("jobs/prog/main.py", PROGRAM)
    user.write("jobs/data/a/one.csv", "1")
    user.write("jobs/note.txt", "noted")
    file = user.write("jobs/whole.yaml", WHOLE)
    options = ("--env", "LEVEL=high", "--memory", "128MiB", "--name", "over")
    job = user.submit(*options, file.relative_to(user.cwd)).must().document
    assert job["name"] == "over"
    kept = user.cwd / "over/outputs"
    assert json.loads((kept / "kept/in/seen.json").read_text()) == {
        "args": ["from-file", "2"],
        "level": "high",
        "other": "yes",
        "table": "1",
        "note": "noted",
    }
    assert not (kept / "left.txt").exists()
    assert user.status("over")["resources"] == {
        "cpu_millis": 500,
        "memory_bytes": 128 << 20,
        "disk_bytes": 32 << 20,
    }


def test_a_job_file_is_started_from_checked_and_submitted(user: User):
    user.run("spec", "init").must()
    user.write("main.py", "print('from a file')")
    assert user.run("spec", "validate", "job.yaml").must().document["valid"] is True
    ended = user.submit("--name", "given", "job.yaml", json=False).must()
    assert ended.out == "from a file\n"
    assert (user.cwd / "given/stdout").exists()


def test_the_schema_is_published(net: Network):
    schema = json.loads(net.user().run("spec", "schema").must().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"timeouts", "retry", "resources", "inputs"} <= set(schema["properties"])


def test_a_job_that_failed_runs_again_if_its_file_says_so(user: User, node: Node):
    retry = "retry: {attempts: 2, on: [failed]}"
    text = f"version: 1\nname: twice\ncommand: [sh, -c, 'exit 9']\n{retry}\n"
    user.write("twice.yaml", text)
    job = user.submit("twice.yaml").must(9).document
    states = [move["state"] for move in user.status(job["job"])["history"]]
    assert states.count("running") == 2
    assert states[-1] == "failed"
