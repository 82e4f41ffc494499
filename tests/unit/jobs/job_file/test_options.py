"""The reader and the schema follow one table."""

import re

import pytest

from nunet_node.jobs.job_file.options import (
    JOB_OPTIONS,
    RESOURCE_OPTIONS,
    RETRY_OPTIONS,
    TIMEOUT_OPTIONS,
    read_job_file,
    schema,
)
from nunet_node.jobs.job_file.plain_yaml import JobFileError
from nunet_node.jobs.job_file.values import FileInput
from nunet_node.jobs.specification import Engine, ResultKind, RetryCause

FULL = """\
version: 1
name: co2-summary
engine: python
script: analyse.py
args: [co2.csv, 1, NO]
inputs: [co2.csv, "data:d"]
outputs: ["out/**"]
env: {LANG: C.UTF-8, DEBUG: 1}
resources: {cpus: 0.5, memory: 512MiB, disk: 1GiB}
timeouts: {run: 10m, queue: 1h}
retry: {attempts: 2, on: [lost, failed]}
max_price: 0.25
identity: work
cancel_delegable: true
results: public
isolation: wasm
image: root.tar
count: 3
network: none
"""


def test_every_option_is_read():
    file = read_job_file(FULL)

    assert (file.name, file.engine, file.program) == (
        "co2-summary",
        Engine.PYTHON,
        "analyse.py",
    )
    assert file.args == ("co2.csv", "1", "NO")
    assert file.inputs[1] == FileInput(path="data", dest="d")
    assert file.outputs == ("out/**",)
    assert file.results is ResultKind.PUBLIC
    assert file.env == {"LANG": "C.UTF-8", "DEBUG": "1"}
    assert (file.cpu_millis, file.memory_bytes, file.disk_bytes) == (500, 2**29, 2**30)
    assert (file.run_s, file.queue_s) == (600, 3600)
    assert (file.attempts, file.retry_on) == (2, (RetryCause.LOST, RetryCause.FAILED))
    assert (file.price_micro_ntx_max, file.identity) == (250_000, "work")
    assert file.cancel_delegable


def test_a_command_is_a_list_of_words():
    assert read_job_file("version: 1\ncommand: [sort, -r, 3]").command == (
        "sort",
        "-r",
        "3",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory:", "memry:", "line 9: resources.memry: .* did you mean 'memory'"),
        ("outputs:", "ouput:", "did you mean 'outputs'"),
        ("512MiB", "lots", "resources.memory: 'lots' is not a size"),
        ("run: 10m", "run: 99d", "timeouts.run: .*between 1s and 30d"),
        ("[lost,", "[los,", r"retry.on\[0\]: .*did you mean 'lost'"),
        ("attempts: 2", "attempts: 17", "from 1 to 16"),
        ("engine: python", "engine: pyton", "line 3: engine: .*'python'"),
        ("version: 1\n", "", "version: 1"),
        ("version: 1", "version: 2", "version: '2'"),
        ("script:", "command:", "line 4: command: expected a list"),
        ("DEBUG", "1D", "line 8: env: '1D'"),
        ("out/**", "../**", r"outputs\[0\]"),
        ("results: public", "results: secret", "sealed or public"),
        ("cancel_delegable: true", "cancel_delegable: yes", "neither true nor false"),
        ("max_price: 0.25", "max_price: free", "max_price: 'free' is not an amount"),
        ("name: co2-summary", "name: a/b", "line 2: name"),
        ("identity: work", "module: a.wasm", "not script and module"),
        ("script: analyse.py\n", "", "one of script, module and command, not none"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(old, new, message):
    with pytest.raises(JobFileError, match=message):
        read_job_file(FULL.replace(old, new))


def test_an_empty_command_is_refused():
    with pytest.raises(JobFileError, match="no words"):
        read_job_file("version: 1\ncommand: []")


def test_the_schema_covers_every_option_and_no_other():
    published = schema()

    assert published["properties"].keys() == JOB_OPTIONS.keys()
    for name, section in (
        ("resources", RESOURCE_OPTIONS),
        ("timeouts", TIMEOUT_OPTIONS),
        ("retry", RETRY_OPTIONS),
    ):
        assert published["properties"][name]["properties"].keys() == section.keys()
        assert published["properties"][name]["additionalProperties"] is False
    assert published["additionalProperties"] is False


def test_the_schema_explains_every_option():
    assert all(option.schema["description"] for option in JOB_OPTIONS.values())


@pytest.mark.parametrize(
    ("section", "name", "good", "bad"),
    [
        (RESOURCE_OPTIONS, "memory", ["512MiB", "2G", "1.5 gb", "7"], ["-1", "2X"]),
        (RESOURCE_OPTIONS, "cpus", ["0.5", "12"], ["two", "-1"]),
        (TIMEOUT_OPTIONS, "run", ["15s", "10m", "2h", "7d"], ["1y", ""]),
    ],
)
def test_the_schema_and_the_reader_agree_on_amounts(section, name, good, bad):
    option = section[name]
    for text in good + bad:
        agreed = re.search(option.schema["pattern"], text) is not None
        section_name = "resources" if section is RESOURCE_OPTIONS else "timeouts"
        job = f"version: 1\ncommand: [x]\n{section_name}: {{{name}: '{text}'}}"
        try:
            read_job_file(job)
        except JobFileError:
            assert not agreed, text
        else:
            assert agreed, text


@pytest.mark.parametrize("wish", ["http", "full", "bridge"])
def test_a_network_that_nobody_can_give_is_refused_with_a_remedy(wish):
    text = f"version: 1\ncommand: [ls]\nnetwork: {wish}\n"
    with pytest.raises(JobFileError, match=r"line 3: network: .*cannot be had.*none"):
        read_job_file(text)


def test_a_level_of_isolation_is_one_of_three():
    text = "version: 1\ncommand: [ls]\nisolation: contaner\n"
    with pytest.raises(JobFileError, match="container"):
        read_job_file(text)
