"""Reading secrets where they are, and opening them for a start."""

import os
from dataclasses import replace

import pytest

from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.job_file import JobFile
from nunet_node.jobs.job_file.secrets import parse_secret
from nunet_node.jobs.secrets import SECRET_BYTES_MAX
from nunet_node.jobs.specification import Engine, JobSpec
from nunet_node.protocol.effects import StartJob
from nunet_node.protocol.secrets.events import SealSecrets, SecretsSealed, SecretsUnread
from nunet_node.runtime.wallet.secrets import (
    SecretUnreadError,
    Unsealer,
    checked_sources,
    read_secrets,
    sealed_for,
)

OWNER, NODE = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
JOB = "j" * 32


def spec(*names):
    return JobSpec(name="x", engine=Engine.PROCESS, command=("x",), secrets=names)


def order(*sources):
    return SealSecrets(
        job=JOB, attempt=1, provider=NODE.did, owner=OWNER.did, sources=sources
    )


def start(sealed, *names):
    return StartJob(
        job=JOB, attempt=1, owner=OWNER.did, spec=spec(*names), secrets=sealed
    )


def test_a_variable_and_a_file_are_read_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environb, b"SECRET_A", b"\xff value")
    file = tmp_path / "b"
    file.write_bytes(b"\x00line\n")
    found = read_secrets([parse_secret("SECRET_A"), parse_secret(f"B=@{file}")])
    assert found == {"SECRET_A": b"\xff value", "B": b"\x00line\n"}


def test_what_is_sealed_here_opens_at_the_provider_when_the_job_starts(monkeypatch):
    monkeypatch.setenv("SECRET_A", "marker")
    sealed = sealed_for(order(parse_secret("SECRET_A")))
    assert isinstance(sealed, SecretsSealed)
    assert Unsealer(NODE).open(start(sealed.sealed, "SECRET_A")) == (
        ("SECRET_A", b"marker"),
    )


def test_each_sealing_is_another(monkeypatch):
    monkeypatch.setenv("SECRET_A", "marker")
    one, other = (sealed_for(order(parse_secret("SECRET_A"))) for _ in range(2))
    assert one.sealed != other.sealed


def test_a_job_without_secrets_opens_none():
    assert Unsealer(NODE).open(start(b"")) == ()


def test_a_job_whose_secrets_are_missing_does_not_start():
    with pytest.raises(PeerError):
        Unsealer(NODE).open(start(b"", "SECRET_A"))


def test_secrets_of_another_attempt_start_nothing(monkeypatch):
    monkeypatch.setenv("SECRET_A", "marker")
    sealed = sealed_for(order(parse_secret("SECRET_A"))).sealed
    with pytest.raises(PeerError):
        Unsealer(NODE).open(replace(start(sealed, "SECRET_A"), attempt=2))


def test_a_variable_that_is_not_there_is_named():
    unread = sealed_for(order(parse_secret("NO_SUCH_VARIABLE_HERE")))
    assert isinstance(unread, SecretsUnread)
    assert "no variable NO_SUCH_VARIABLE_HERE" in unread.reason


def test_a_file_that_is_not_there_or_is_none_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("gone", "No such file"),
        ("pipe", "not a file"),
        (".", "Is a directory"),
    ):
        with pytest.raises(SecretUnreadError, match=why):
            read_secrets([parse_secret(f"KEY=@{tmp_path / name}")])


def test_no_more_of_a_file_is_read_than_a_secret_may_have(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(bytes(SECRET_BYTES_MAX + 1))
    with pytest.raises(SecretUnreadError, match="limit 32768"):
        read_secrets([parse_secret(f"KEY=@{file}")])


def test_a_path_holds_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_bytes(b"k")
    work = JobFile(secrets=(parse_secret("KEY=@key"),))
    [source] = checked_sources(spec("KEY"), work)
    assert source.file == str(tmp_path / "key")


def test_a_secret_that_nobody_says_where_to_find_is_refused():
    with pytest.raises(SecretUnreadError, match="KEY"):
        checked_sources(spec("KEY"), spec("KEY"))


def test_what_opens_secrets_does_not_show_the_key():
    assert NODE.seed.hex() not in repr(Unsealer(NODE))
