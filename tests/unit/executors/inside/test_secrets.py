"""Giving a guest its secrets: in memory, its own, and gone with it."""

import contextlib
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from nunet_node.executors.inside.secrets import SECRETS_MARK, laid_out
from nunet_node.executors.port import NO_SECRETS, SECRETS_PATH
from nunet_node.executors.probing.secrets import can_mount
from tests.executors_kit import an_order, attempt, need, some_executors

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


READ = """
import os
place = os.environ["NUNET_JOB_SECRETS"]
for name in sorted(os.listdir(place)):
    print(name, open(f"{place}/{name}", "rb").read().hex())
for wrong in (f"{place}/TOKEN", f"{place}/new"):
    try:
        open(wrong, "w")
    except OSError:
        print("closed")
"""


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_script_finds_its_secrets_as_files_that_it_cannot_change(warm):
    await need("python")
    order = an_order("python", "main.py", secrets=SECRETS)
    ran = await attempt(order, {"main.py": READ.encode()}, warm=warm)
    told = [f"{name} {value.hex()}".strip() for name, value in sorted(SECRETS)]
    assert [line.strip() for line in ran.stdout.decode().splitlines()] == [
        *told,
        "closed",
        "closed",
    ], (ran.end, ran.stderr)


async def test_a_script_without_secrets_has_no_place_for_them():
    await need("python")
    look = (
        b"import os; print(os.path.exists('/run'), 'NUNET_JOB_SECRETS' in os.environ)"
    )
    ran = await attempt(an_order("python", "main.py"), {"main.py": look})
    assert ran.stdout == b"False False\n"


def capabilities_of_runners() -> set[int]:
    """Return the rights that our own runners have, each process's as a number."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (process / "status").read_text().splitlines()
            said = dict(line.split(":", 1) for line in lines)
            runs = b"executors.inside.main" in (process / "cmdline").read_bytes()
            if runs and int(said["PPid"]) == os.getpid():
                found.add(int(said["CapEff"], 16))
    return found


async def test_only_the_runner_itself_sees_what_is_mounted():
    await need("python")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job-under-test", 1)
        script = b"import sys\nprint('here', flush=True)\nwhile True: pass"
        job_dir.add_file("main.py", script)
        order = an_order("python", "main.py", secrets=SECRETS)
        here = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    executors.run, order, job_dir, None, lambda _n, _d: here.set()
                )
                await here.wait()
                assert list(job_dir.secrets_place().iterdir()) == []
                assert capabilities_of_runners() == {0}
                nursery.cancel_scope.cancel()
        finally:
            await executors.remove(job_dir)


async def test_whether_secrets_can_be_shown_is_found_out_by_doing_it():
    async with some_executors() as executors:
        found = {each.engine: each for each in await executors.probe()}
        assert found["wasm"].secrets is await can_mount(executors)
    assert found["process"].secrets is found["process"].ready
    assert not found["container"].secrets


async def test_where_no_directory_can_be_made_secrets_cannot_be_shown():
    async with some_executors() as executors:
        await trio.to_thread.run_sync(shutil.rmtree, executors._scratch)
        assert not await can_mount(executors)


async def test_a_container_with_secrets_is_not_started():
    async with some_executors() as executors:
        job_dir = await executors.open_job("job-under-test", 1)
        try:
            order = an_order("container", "true", image="x", secrets=SECRETS)
            end = await executors.run(order, job_dir)
        finally:
            await executors.remove(job_dir)
    assert (end.exit_code, end.reason) == (None, NO_SECRETS)
