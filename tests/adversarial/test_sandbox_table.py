"""Attacks that a plain subprocess would win, one by one, where none is tried yet.

The others stand by theme in the files beside this one.
"""

import contextlib
import subprocess
import sys
from dataclasses import replace

import pytest

from nunet_node.executors.engines import bounds, ending, launch
from nunet_node.executors.supervise import supervise
from tests.executors_kit import (
    an_order,
    attempt,
    native_python_job,
    need,
    python_job,
    shell_job,
    some_executors,
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


async def test_a_socket_to_elsewhere_is_refused_however_its_kind_is_spelt():
    """The kernel reads half of the register, and a filter must read no more."""
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "call = {'x86_64': 41, 'aarch64': 198}[os.uname().machine]\n"
        "for family in (16, 17, 31, 38, 40, 44):\n"
        "    for above in (0, 1 << 32, 7 << 60):\n"
        "        for kind in (1, 2, 3):\n"
        "            words = map(ctypes.c_long, (family | above, kind, 0))\n"
        "            if libc.syscall(call, *words) >= 0: print('GOT', family)\n"
        "print('end')\n"
    )
    assert ran.stdout == b"end\n"


async def test_calls_newer_than_the_filter_s_library_are_not_there():
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for call in (457, 458, 459, 467, 470, 511):\n"
        "    libc.syscall(call, 0, 0, 0, 0)\n"
        "    print(errno.errorcode[ctypes.get_errno()])\n"
    )
    assert ran.stdout.split() == [b"ENOSYS"] * 6


async def test_what_proc_tells_of_the_whole_machine_is_closed():
    ran = await shell_job(
        "for name in cmdline interrupts kcore key-users keys kmsg timer_list; do"
        "  cat /proc/$name && echo GOT $name; done; echo end"
    )
    assert ran.stdout == b"end\n"


async def test_the_first_process_of_the_sandbox_cannot_be_rewritten():
    ran = await shell_job("(: <>/proc/1/mem) && echo GOT; echo end")
    assert ran.stdout == b"end\n"


async def test_no_priority_above_other_programs_can_be_had():
    ran = await shell_job(
        "chrt -f 1 true && echo GOT; chrt -r 1 true && echo GOT;"
        "bash -c 'ulimit -r; ulimit -e'"
    )
    assert ran.stdout == b"0\n0\n"


async def test_the_processor_time_of_one_process_is_bounded_by_the_order():
    ran = await shell_job("ulimit -t", wall_s=20, cpu_millis=1000)
    assert int(ran.stdout) == 21


async def test_a_process_that_took_too_much_processor_time_is_told_so():
    # The signal of that limit, without the minutes that it takes to earn it.
    ran = await shell_job("kill -XCPU $$")
    assert ran.end.limit == "cpu"


async def test_the_processor_time_of_all_processes_together_is_bounded():
    # Of its own bound, without the minutes that it takes to reach the smallest order's.
    await need("process")
    order = an_order(
        "process", "sh", "-c", "for i in 1 2 3; do while :; do :; done & done; wait"
    )
    async with some_executors(control_groups=False) as executors:
        job_dir = await executors.open_job("job", 1)
        bwrap = await executors._program(order, job_dir)
        with contextlib.ExitStack() as stack:
            launched = launch(order, job_dir, bwrap, stack, None)
            watched = await supervise(
                launched.request,
                bounds=replace(bounds(order, bwrap), cpu_ms=300),
                job_dir=job_dir,
                group=None,
                given=launched.given,
            )
        await executors.remove(job_dir)
    assert ending(order, launched, watched).limit == "cpu"


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
