"""Giving a guest its secrets: in memory, its own, and gone with it."""

from hashlib import sha256

import pytest

from nunet_node.executors.inside.secrets import SECRETS_MARK, laid_out
from nunet_node.executors.port import SECRETS_PATH
from tests.executors_kit import an_order, attempt, need

MARKER = "marker-61f0"
SECRETS = (("TOKEN", MARKER.encode()), ("KEY", bytes(range(256))), ("EMPTY", b""))


def test_a_box_without_secrets_is_left_as_it_is():
    assert laid_out(["--", "true"], []) == ["--", "true"]


def test_no_value_is_a_word_of_the_command():
    words = laid_out(["--dir", SECRETS_PATH, SECRETS_MARK, "--"], [("A", "bWFyaw==")])
    assert words[-2:] == [f"{SECRETS_PATH}/A", "--"]
    assert not any("mark" in word or "bWFyaw" in word for word in words)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_native_job_finds_its_secrets_as_files(warm):
    await need("process")
    look = 'cd "$NUNET_JOB_SECRETS" && pwd && ls && sha256sum TOKEN KEY EMPTY'
    order = an_order("process", "sh", "-c", look, secrets=SECRETS)
    ran = await attempt(order, warm=warm)
    assert ran.end.exit_code == 0, ran.stderr
    names = [name for name, _ in sorted(SECRETS)]
    digests = [f"{sha256(value).hexdigest()}  {name}" for name, value in SECRETS]
    assert ran.stdout.decode().splitlines() == [SECRETS_PATH, *names, *digests]


async def test_nothing_in_the_place_of_secrets_can_be_changed():
    await need("process")
    spoil = "echo x > TOKEN; rm -f TOKEN; chmod 777 TOKEN; echo x > ../new; cat TOKEN"
    words = f"cd {SECRETS_PATH}; {spoil}; ls .."
    ran = await attempt(an_order("process", "sh", "-c", words, secrets=SECRETS))
    assert ran.stdout == f"{MARKER}secrets\n".encode()


async def test_a_job_without_secrets_has_no_place_for_them():
    await need("process")
    words = 'test ! -e /run/secrets && test -z "$NUNET_JOB_SECRETS"'
    ran = await attempt(an_order("process", "sh", "-c", words))
    assert ran.end.exit_code == 0


async def test_no_variable_and_no_word_of_the_host_shows_them():
    await need("process")
    words = "cat /proc/self/environ /proc/1/environ /proc/1/cmdline; true"
    ran = await attempt(an_order("process", "sh", "-c", words, secrets=SECRETS))
    assert MARKER.encode() not in ran.stdout


async def test_no_output_is_made_of_them():
    await need("process")
    ran = await attempt(an_order("process", "true", secrets=SECRETS), globs=("**",))
    assert ran.paths == []


def test_an_order_does_not_show_them():
    assert MARKER not in repr(an_order("process", "true", secrets=SECRETS))
