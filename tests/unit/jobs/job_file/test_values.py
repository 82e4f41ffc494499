"""Single values are read strictly, and mistakes get a sentence."""

import pytest

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file.values import (
    FileInput,
    base_name,
    parse_cause,
    parse_engine,
    parse_env,
    parse_input,
    parse_name,
    parse_output,
    parse_run_s,
    parse_some_cpu_millis,
    parse_some_memory_bytes,
    suffix,
    whole_number,
)
from nunet_node.jobs.specification import Engine, RetryCause


@pytest.mark.parametrize(
    ("text", "path", "dest"),
    [
        ("data/a.csv", "data/a.csv", "a.csv"),
        ("data/a.csv:in/b.csv", "data/a.csv", "in/b.csv"),
        ("data/", "data/", "data"),
        ("data:./d/", "data", "d"),
        ("odd:name.csv:n.csv", "odd:name.csv", "n.csv"),
    ],
)
def test_an_input_is_a_path_and_where_it_goes(text, path, dest):
    assert parse_input(text) == FileInput(path=path, dest=dest)


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "path", "dest"),
    [
        (
            f"https://host/a/m.bin?v=1#sha256={HASH}",
            "https://host/a/m.bin?v=1",
            "m.bin",
        ),
        (f"http://host:80/m#sha256={HASH}:in/x", "http://host:80/m", "in/x"),
    ],
)
def test_an_input_from_a_url_comes_with_its_hash(text, path, dest):
    assert parse_input(text) == FileInput(path=path, dest=dest, sha256=HASH)
    assert not parse_input(text).is_here


@pytest.mark.parametrize(
    ("text", "path", "dest"),
    [
        ("job:abc/out/model", "job:abc/out/model", "model"),
        ("job:abc/model:in/m", "job:abc/model", "in/m"),
    ],
)
def test_an_input_may_be_another_job_s_output(text, path, dest):
    assert parse_input(text) == FileInput(path=path, dest=dest)
    assert not parse_input(text).is_here


def test_a_file_may_be_called_like_a_job_s_output():
    assert parse_input("./job:abc/model:m").is_here


@pytest.mark.parametrize(
    "text",
    [
        "https://host/file",
        "https://host/file#sha256=abc",
        f"https://host/file#sha256={HASH.upper()}",
        f"https://host/file#sha256={HASH}:/etc/x",
        "job:abc",
        "job:abc/",
        "job:abc/../x",
        "job:abc//x:y",
    ],
)
def test_an_input_from_elsewhere_says_which_and_stays_inside(text):
    with pytest.raises(PeerError):
        parse_input(text)


@pytest.mark.parametrize(
    "text", ["", ":b", "a:", "a:/etc", "a:../b", "a:b//c", ".", "../.."]
)
def test_an_input_stays_inside_the_job_directory(text):
    with pytest.raises(PeerError):
        parse_input(text)


def test_an_environment_variable_may_hold_equals_signs():
    assert parse_env("A=b=c") == ("A", "b=c")


@pytest.mark.parametrize("text", ["A", "=x", "1A=x", "A B=x", "NUNET_JOB_ID=x"])
def test_an_environment_variable_has_a_name_of_its_own(text):
    with pytest.raises(PeerError):
        parse_env(text)


@pytest.mark.parametrize("text", ["/etc/*", "../x", "a/../b", ""])
def test_outputs_lie_inside_the_job_directory(text):
    with pytest.raises(PeerError):
        parse_output(text)


def test_an_output_may_be_any_pattern_inside():
    assert parse_output("./out/**/*.svg") == "out/**/*.svg"


@pytest.mark.parametrize("text", ["", "a/b", ".hidden", "a" * 65, "a b", "ü"])
def test_a_name_can_name_a_directory(text):
    with pytest.raises(PeerError):
        parse_name(text)


def test_a_duration_is_bounded():
    assert parse_run_s("30d") == 30 * 86400
    for text in ("0", "31d", "soon"):
        with pytest.raises(PeerError):
            parse_run_s(text)


def test_a_job_needs_some_processor_and_memory():
    assert parse_some_cpu_millis("0.5") == 500
    assert parse_some_memory_bytes("1KiB") == 1024
    for parse in (parse_some_cpu_millis, parse_some_memory_bytes):
        with pytest.raises(PeerError):
            parse("0")


def test_a_wrong_engine_or_cause_is_refused_with_the_nearest():
    assert parse_engine("wasm") is Engine.WASM
    assert parse_cause("lost") is RetryCause.LOST
    with pytest.raises(PeerError, match="did you mean 'python'"):
        parse_engine("pyton")
    with pytest.raises(PeerError, match="did you mean 'failed'"):
        parse_cause("fail")


@pytest.mark.parametrize("text", ["0", "17", "1.5", "-1", "x", "", "٣"])
def test_a_whole_number_is_plain_and_bounded(text):
    with pytest.raises(PeerError):
        whole_number(1, 16)(text)


def test_a_path_has_a_base_name_and_a_suffix():
    assert base_name("a/b/") == "b"
    assert suffix("a.b/c.PY") == ".py"
    assert suffix("a/.py") == ""
    assert suffix("a.b/c") == ""
