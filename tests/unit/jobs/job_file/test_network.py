"""What a job may reach is said in a file and on the command line alike."""

import re

import pytest

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import JobFileError, job_spec, read_job_file
from nunet_node.jobs.job_file.network import NETWORK_SCHEMA, parse_network
from nunet_node.jobs.specification import Network
from nunet_node.wire.schema import to_plain

DOMAINS = ("pypi.example", "*.data.example")


def said(network):
    return read_job_file(f"version: 1\ncommand: [curl]\nnetwork: {network}\n").network


@pytest.mark.parametrize(
    "text",
    [
        '{http: [pypi.example, "*.data.example"]}',
        "http:pypi.example,*.data.example",
        "'http:pypi.example, *.data.example'",
    ],
)
def test_domains_are_read_in_either_form(text):
    assert said(text) == Network(http=DOMAINS)


def test_nothing_is_reached_unless_it_is_said():
    assert said("none") == Network()
    assert parse_network("none") == Network()
    assert parse_network("http:pypi.example") == Network(http=("pypi.example",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http", "write 'none', or http:"),
        ("full", "write 'none', or http:"),
        ("'http:'", "is not a domain"),
        ("{http: []}", "name 1 to 16"),
        ("{}", "name 1 to 16"),
        ("{https: [a.example]}", "https"),
        ("{http: [127.0.0.1]}", "neither an address nor a port"),
        ('{http: ["a.example:8080"]}', "neither an address nor a port"),
        ("{http: [A.example]}", "lower case"),
        ("{http: a.example}", "list"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_line_and_a_remedy(text, words):
    with pytest.raises(JobFileError, match=f"line 3: network.*{re.escape(words)}"):
        said(text)


def test_the_schema_takes_what_the_reader_takes():
    text, table = NETWORK_SCHEMA["oneOf"]
    item = table["properties"]["http"]["items"]
    for good in ("none", "http:a.example,*.b.example"):
        assert re.search(text["pattern"], good)
    for bad in ("full", "http:", "http:[::1]", "http:a.example/x"):
        assert not re.search(text["pattern"], bad)
        with pytest.raises(PeerError):
            parse_network(bad)
    assert all(re.search(item["pattern"], each) for each in DOMAINS)
    assert not re.search(item["pattern"], "127.0.0.1")


def test_what_it_reaches_is_part_of_what_is_signed():
    file = read_job_file("version: 1\ncommand: [curl]\nnetwork: http:pypi.example\n")
    spec = job_spec(file, inputs=None, inputs_bytes=0)
    assert to_plain(spec)["network"] == {"http": ("pypi.example",)}


@pytest.mark.parametrize(
    "runs", ["script: a.py", "module: a.wasm", "command: [ls]\nimage: debian"]
)
def test_an_engine_that_reaches_nothing_is_refused_with_a_remedy(runs):
    file = read_job_file(f"version: 1\n{runs}\nnetwork: http:pypi.example\n")
    with pytest.raises(JobFileError, match=r"reaches no network.*engine: process"):
        job_spec(file, inputs=None, inputs_bytes=0)
