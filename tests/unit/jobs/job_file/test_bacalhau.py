"""What maps from Bacalhau means the same here, and the rest is named."""

import json

import pytest

from nunet_node.jobs.job_file import JobFileError, read_job_file
from nunet_node.jobs.job_file.bacalhau import import_bacalhau
from nunet_node.jobs.job_file.values import FileInput
from nunet_node.jobs.specification import Engine, Network
from nunet_node.quantities import Gpus

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
    assert file.outputs == ("outputs",)
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


DESCRIBED = {
    "Job": {
        "Name": "described",
        "Namespace": "",
        "Type": "batch",
        "Priority": "",
        "Count": 1,
        "Constraints": [],
        "Meta": None,
        "Labels": {},
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "docker",
                    "Params": {
                        "Image": "ubuntu",
                        "Entrypoint": None,
                        "EnvironmentVariables": None,
                        "WorkingDirectory": "",
                        "Parameters": [
                            "echo",
                            "caf\u00e9 \x85\u2028 \U0001f600 \\/ null",
                        ],
                    },
                },
                "Publisher": {"Type": ""},
                "Env": {"EMPTY": ""},
                "Meta": {},
                "InputSources": None,
                "ResultPaths": [],
                "Resources": {"CPU": "", "Memory": "1Gi", "Disk": "", "GPU": "0"},
                "Network": {"Type": "None"},
                "Timeouts": {"ExecutionTimeout": 1800, "TotalTimeout": 0},
            }
        ],
    },
    "Executions": None,
}


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_what_bacalhau_says_of_a_job_in_json_is_read(indent):
    made = import_bacalhau(json.dumps(DESCRIBED, indent=indent))
    file = read_job_file(made.text)
    assert file.command == ("echo", "caf\u00e9 \x85\u2028 \U0001f600 \\/ null")
    assert (file.memory_bytes, file.run_s) == (1 << 30, 1800)
    assert (file.inputs, file.env, file.gpus) == ((), {"EMPTY": ""}, None)
    # Of what was given as nothing, nothing is said.
    assert [each.partition(": ")[0] for each in made.left_out] == [
        "Job.Tasks[0].Engine.Params.Image",
        "Job.Tasks[0].Publisher",
    ]


@pytest.mark.parametrize(
    ("said", "memory_bytes"),
    [
        ("512Mb", 512 * 10**6),
        ("512m", 512 * 10**6),
        ("1G", 10**9),
        ("1gib", 1 << 30),
        ("0.5 GB", 5 * 10**8),
        ("512Mi", 512 << 20),
        ("536870912", 512 << 20),
    ],
)
def test_a_size_is_as_large_as_it_was_there(said, memory_bytes):
    made = import_bacalhau(DOCKER.replace("256MB", said))
    assert read_job_file(made.text).memory_bytes == memory_bytes


def test_gpus_become_gpus_of_any_kind():
    made = import_bacalhau(DOCKER.replace("Disk: 1GB", 'Disk: 1GB, GPU: "2"'))
    assert read_job_file(made.text).gpus == Gpus(count=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("Image: ubuntu:latest", "Image: u\n        WorkingDirectory: /w"), "Working"),
        (("Entrypoint: _start", "ImportModules: [{a: b}]"), "ImportModules"),
        (("Target: /inputs", "Target: '/in:puts'"), "no colon"),
        (("Disk: 1GB", "Disk: lots"), "disk"),
        (("Image: ubuntu:latest", "Image: ''"), "image"),
        (("Params:", "Param:"), "no Params"),
    ],
)
def test_what_changes_what_runs_is_named_with_its_line(change, words):
    text = WASM if change[0] in WASM and change[0] not in DOCKER else DOCKER
    with pytest.raises(JobFileError, match=words):
        import_bacalhau(text.replace(*change, 1))


def test_what_was_written_back_is_named():
    change = ("SourcePath: ./data", "SourcePath: ./data, ReadWrite: true")
    made = import_bacalhau(DOCKER.replace(*change))
    assert any("own copy" in each for each in made.left_out)


def test_a_path_that_looks_like_something_else_stays_a_path():
    made = import_bacalhau(DOCKER.replace("./data", "job:x"))
    assert read_job_file(made.text).inputs[0].path == "./job:x"


@pytest.mark.parametrize(
    "text", ["[" * 9999, '{"a":' * 500, "\ufeff{}", "{}", "null", '{"Job": {}}']
)
def test_json_that_is_no_job_is_refused(text):
    with pytest.raises(JobFileError):
        import_bacalhau(text)


def test_half_of_a_letter_in_json_is_refused():
    said = json.dumps(DESCRIBED).replace('"echo"', '"\\ud800"')
    with pytest.raises(JobFileError, match="surrogate"):
        import_bacalhau(said)
