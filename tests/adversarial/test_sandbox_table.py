"""Attacks that a plain subprocess would win, one by one, where none is tried yet.

The others stand by theme in the files beside this one.
"""

import subprocess
import sys

import pytest

from tests.executors_kit import (
    an_order,
    attempt,
    native_python_job,
    need,
    python_job,
    shell_job,
)

SECRET = "token-of-the-node-1f0e"


@pytest.fixture
def secret_variable(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NUNET_TEST_SECRET", SECRET)
    return SECRET


@pytest.mark.usefixtures("secret_variable")
async def test_no_variable_of_the_node_reaches_a_native_job():
    ran = await shell_job("env; cat /proc/*/environ")
    assert SECRET.encode() not in ran.stdout
    assert b"NUNET_JOB_ID" in ran.stdout


@pytest.mark.usefixtures("secret_variable")
async def test_no_variable_of_the_node_reaches_a_script():
    ran = await python_job("import os\nprint(dict(os.environ))")
    assert SECRET.encode() not in ran.stdout
    assert b"NUNET_JOB_ID" in ran.stdout


async def test_the_variables_of_a_host_process_cannot_be_read():
    with subprocess.Popen(
        [sys.executable, "-I", "-c", "input()"],
        stdin=subprocess.PIPE,
        env={"NUNET_TEST_SECRET": SECRET},
    ) as victim:
        try:
            ran = await shell_job(
                f"cat /proc/{victim.pid}/environ /proc/[0-9]*/environ; true"
            )
            script = await python_job(
                f"print(open('/proc/{victim.pid}/environ').read())"
            )
            assert victim.poll() is None
        finally:
            victim.kill()
    assert SECRET.encode() not in ran.stdout
    assert SECRET.encode() not in script.stdout


async def test_a_host_process_can_neither_be_killed_nor_traced():
    with subprocess.Popen(["sleep", "60"]) as victim:
        try:
            await shell_job(f"kill -9 {victim.pid}; kill -9 -1; true")
            assert victim.poll() is None
        finally:
            victim.kill()


async def test_no_device_can_be_made_and_no_root_changed():
    ran = await native_python_job(
        "import os\n"
        "for name, attempt in {\n"
        "    'device': lambda: os.mknod('disk', 0o60600, os.makedev(8, 0)),\n"
        "    'null': lambda: os.mknod('null', 0o20666, os.makedev(1, 3)),\n"
        "    'chroot': lambda: os.chroot('/usr'),\n"
        "    'uid': lambda: os.setuid(0),\n"
        "    'nice': lambda: os.nice(-5),\n"
        "    'host name': lambda: open('/proc/sys/kernel/hostname', 'w'),\n"
        "}.items():\n"
        "    try:\n"
        "        attempt()\n"
        "        print('GOT', name)\n"
        "    except OSError:\n"
        "        print('refused', name)\n"
    )
    assert b"GOT" not in ran.stdout
    assert ran.stdout.count(b"refused") == 6


async def test_a_namespace_within_the_namespace_is_refused():
    ran = await shell_job(
        "unshare --user true && echo GOT; unshare --net true && echo GOT; echo end"
    )
    assert ran.stdout == b"end\n"


async def test_the_processor_time_of_one_process_is_bounded_by_the_order():
    ran = await shell_job("ulimit -t", wall_s=20, cpu_millis=1000)
    assert int(ran.stdout) == 21


async def test_a_process_that_took_too_much_processor_time_is_told_so():
    # The signal of that limit, without the minutes that it takes to earn it.
    ran = await shell_job("kill -XCPU $$")
    assert ran.end.limit == "cpu"


async def test_no_process_leaves_a_core():
    ran = await shell_job("ulimit -c; kill -SEGV $$")
    assert ran.stdout == b"0\n"
    assert ran.end.exit_code == 128 + 11
    assert ran.paths == []


async def test_compiled_code_of_a_peer_is_never_run():
    """An artefact is machine code: whoever could bring one would own the runner."""
    await need("wasm")
    wasmtime = pytest.importorskip("wasmtime")
    module = b'(module (memory (export "memory") 1) (func (export "_start")))'
    config = wasmtime.Config()
    config.consume_fuel = True
    compiled = bytes(wasmtime.Module(wasmtime.Engine(config), module).serialize())
    order = an_order("wasm", "evil.wasm")

    honest = await attempt(order, {"evil.wasm": module})
    ran = await attempt(order, {"evil.wasm": compiled})

    assert honest.end.exit_code == 0
    assert ran.end.exit_code is None
    assert ran.starts == 0
    assert ran.end.reason is not None
    assert "module" in ran.end.reason
