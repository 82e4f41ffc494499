"""What maps from Bacalhau means the same here, and the rest is named."""

import pytest

from nunet_node.jobs.job_file import JobFileError, read_job_file
from nunet_node.jobs.job_file.bacalhau import import_bacalhau
from nunet_node.jobs.job_file.values import FileInput
from nunet_node.jobs.specification import Engine, Network

DOCKER = """\
Name: Docker Job with Output
Type: batch
Namespace: default
Count: 3
Priority: 50
Labels: {team: x}
Tasks:
  - Name: main
    Engine:
      Type: docker
      Params:
        Image: ubuntu:latest
        Parameters: [-c, "wc /inputs/* > /outputs/count"]
        Entrypoint: [/bin/bash]
        EnvironmentVariables: ["MODE=fast"]
    Env: {LANG: C}
    Resources: {CPU: 500m, Memory: 256MB, Disk: 1GB}
    Network: {Type: HTTP, Domains: [example.org]}
    Timeouts: {ExecutionTimeout: 300, QueueTimeout: 60, TotalTimeout: 900}
    InputSources:
      - Source: {Type: localDirectory, Params: {SourcePath: ./data}}
        Target: /inputs
    Publisher: {Type: ipfs}
    ResultPaths:
      - {Name: outputs, Path: /outputs}
"""

WASM = """\
Name: wasm
Type: batch
Tasks:
  - Engine:
      Type: wasm
      Params:
        EntryModule:
          Source: {Type: localDirectory, Params: {SourcePath: tool.wasm}}
        Entrypoint: _start
        Parameters: [one, two]
"""


def test_a_docker_job_becomes_a_container():
    file = read_job_file(import_bacalhau(DOCKER).text)
    assert file.engine is Engine.CONTAINER
    assert (file.name, file.image) == ("Docker-Job-with-Output", "ubuntu:latest")
    assert file.command == ("/bin/bash", "-c", "wc /inputs/* > /outputs/count")
    assert file.env == {"LANG": "C", "MODE": "fast"}
    assert (file.cpu_millis, file.memory_bytes) == (500, 256 * 10**6)
    assert file.disk_bytes == 10**9
    assert (file.run_s, file.queue_s) == (300, 60)
    assert file.network == Network()
    assert file.inputs == (FileInput(path="./data", dest="inputs"),)
    assert file.outputs == ("outputs/**",)
    assert file.count == 3


def test_everything_that_is_left_out_is_named():
    left_out = "\n".join(import_bacalhau(DOCKER).left_out)
    for name in (
        "Namespace",
        "Priority",
        "Labels",
        "Image",
        "Network",
        "TotalTimeout",
        "InputSources",
        "Publisher",
        "ResultPaths",
    ):
        assert name in left_out


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (
            "{Type: HTTP, Domains: [PyPI.example, .data.example]}",
            "network: http:pypi.example,*.data.example",
        ),
        ("{Type: HTTP}", "bring what it fetched"),
        ("{Type: Full}", "bring what it fetched"),
        ("{Type: None}", None),
    ],
)
def test_what_it_reached_there_is_named_with_how_a_process_could(wish, words):
    made = import_bacalhau(f"{WASM}    Network: {wish}\n")
    assert read_job_file(made.text).network == Network()
    told = [each for each in made.left_out if "Network" in each]
    assert told == [] if words is None else words in told[0]


def test_a_module_keeps_its_words():
    made = import_bacalhau(WASM)
    file = read_job_file(made.text)
    assert (file.program, file.args) == ("tool.wasm", ("one", "two"))
    assert made.left_out == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("Type: batch", "Type: service"), "batch"),
        (("Type: docker", "Type: firecracker"), "docker and wasm"),
        (("Disk: 1GB", "TPU: 1"), "no engine here"),
        (("localDirectory", "s3"), "only local files"),
        (("Count: 3", "Count: many"), "count"),
        (("Tasks:", "Tasks: []\nOther:"), "exactly one task"),
        (("  - Name: main\n", "  - Name: other\n  - Name: main\n"), "exactly one"),
    ],
)
def test_what_would_change_what_runs_is_refused(change, words):
    with pytest.raises(JobFileError, match=words):
        import_bacalhau(DOCKER.replace(*change))


@pytest.mark.parametrize("text", ["", "[]", "Tasks: 3", "Tasks: [3]", "a: &x [*x]"])
def test_what_is_no_job_at_all_is_refused(text):
    with pytest.raises(JobFileError):
        import_bacalhau(text)
