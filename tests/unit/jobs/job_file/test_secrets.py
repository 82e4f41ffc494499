"""Secrets in a job file and as an option: places, never values."""

import pytest

from nunet_node.jobs.job_file import JobFile, JobFileError, job_spec, read_job_file
from nunet_node.jobs.job_file.secrets import (
    PATH_CHARS_MAX,
    laid_over,
    names_of,
    parse_secret,
)
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import SECRETS_MAX
from nunet_node.wire.schema import encode_record

JOB = "version: 1\ncommand: [deploy]\nsecrets:\n"


def read(words):
    return read_job_file(JOB + words).secrets


def test_a_file_says_where_each_secret_is():
    assert read("  TOKEN: {env: MY_TOKEN}\n  KEY: {file: key.pem}") == (
        SecretSource(name="TOKEN", env="MY_TOKEN"),
        SecretSource(name="KEY", file="key.pem"),
    )


def test_an_option_takes_a_variable_or_a_file():
    assert parse_secret("TOKEN") == SecretSource(name="TOKEN", env="TOKEN")
    assert parse_secret("KEY=@k/e=y") == SecretSource(name="KEY", file="k/e=y")


@pytest.mark.parametrize("words", ["TOKEN=hunter2", "TOKEN=", "TOKEN==@x"])
def test_a_value_among_the_words_of_a_command_is_refused_with_the_remedy(words):
    with pytest.raises(JobFileError, match="TOKEN=@FILE") as caught:
        parse_secret(words)
    assert "hunter2" not in str(caught.value)


def test_a_value_in_a_file_is_refused_with_the_remedy_and_not_repeated():
    with pytest.raises(JobFileError, match=r"line 4.*\{env: VARIABLE\}") as caught:
        read("  TOKEN: hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "  TOKEN: {}",
        "  TOKEN: {env: A, file: b}",
        "  TOKEN: {value: A}",
        "  1TOKEN: {env: A}",
        "  ../x: {env: A}",
        "  TOKEN: {env: A=B}",
        "  TOKEN: {file: ''}",
        f"  TOKEN: {{file: {'x' * (PATH_CHARS_MAX + 1)}}}",
    ],
)
def test_what_names_no_single_place_is_refused(words):
    with pytest.raises(JobFileError, match="line"):
        read(words)


@pytest.mark.parametrize("words", ["", "a-b", "=@x", "a/b=@x", "x" * 65, "K=@"])
def test_an_option_that_names_nothing_is_refused(words):
    with pytest.raises(JobFileError):
        parse_secret(words)


def test_more_secrets_than_a_job_may_name_are_refused():
    many = "".join(f"  S{n}: {{env: A}}\n" for n in range(SECRETS_MAX + 1))
    with pytest.raises(JobFileError, match="at most 32"):
        read(many)
    with pytest.raises(JobFileError, match="limit 32"):
        names_of(parse_secret(f"S{n}") for n in range(SECRETS_MAX + 1))


def test_a_name_given_twice_is_refused():
    with pytest.raises(JobFileError, match="twice"):
        names_of([parse_secret("A"), parse_secret("A=@b")])


def test_options_override_the_file_name_by_name():
    file = (parse_secret("A=@one"), parse_secret("B=@two"))
    assert laid_over(file, (parse_secret("B"), parse_secret("C"))) == (
        parse_secret("A=@one"),
        parse_secret("B"),
        parse_secret("C"),
    )
    over = JobFile(command=("x",), secrets=file).overridden_by(
        JobFile(secrets=(parse_secret("A"),))
    )
    assert {each.name: each.env for each in over.secrets} == {"A": "A", "B": ""}


def test_a_path_is_taken_from_the_directory_of_its_file():
    job = read_job_file(JOB + "  KEY: {file: key.pem}\n  T: {env: T}").beside("/jobs")
    assert [each.file for each in job.secrets] == ["/jobs/key.pem", ""]


def test_a_specification_has_the_names_in_order_and_no_place():
    job = read_job_file(JOB + "  ZED: {env: PLACE_ONE}\n  ALPHA: {file: place-two}")
    spec = job_spec(job, inputs=None, inputs_bytes=0)
    assert spec.secrets == ("ALPHA", "ZED")
    assert b"PLACE_ONE" not in encode_record(spec)
    assert b"place-two" not in encode_record(spec)
