"""A job tries to use more than it was promised."""

import pytest

from tests.executors_kit import (
    MIB,
    an_order,
    attempt,
    native_python_job,
    need,
    python_job,
    shell_job,
)

EITHER = pytest.mark.parametrize("control_groups", [True, False])


async def test_a_script_that_never_ends_meets_the_wall_clock():
    ran = await python_job("while True: pass", wall_s=1)
    assert (ran.end.limit, ran.end.exit_code) == ("wall", None)


async def test_a_script_that_sleeps_in_the_host_meets_the_wall_clock():
    ran = await python_job("import time; time.sleep(600)", wall_s=1)
    assert ran.end.limit == "wall"


async def test_a_native_job_that_ignores_signals_meets_the_wall_clock():
    ran = await shell_job("trap '' TERM INT HUP; while :; do sleep 1; done", wall_s=1)
    assert ran.end.limit == "wall"


async def test_a_script_cannot_have_more_memory_than_ordered():
    ran = await python_job("x = bytearray(400 << 20)")
    assert ran.end.exit_code == 1
    assert b"MemoryError" in ran.stderr
    assert ran.end.usage.memory_peak_bytes < 400 * MIB


@EITHER
async def test_one_native_process_cannot_have_more_memory_than_ordered(
    control_groups: bool,
):
    ran = await native_python_job(
        "x = bytearray(b'x' * (120 << 20))\nimport time\ntime.sleep(600)",
        memory_bytes=64 * MIB,
        control_groups=control_groups,
    )
    assert ran.end.limit == "memory"


@EITHER
async def test_many_processes_together_cannot_have_more_memory(control_groups: bool):
    ran = await native_python_job(
        "import os, time\n"
        "children = []\n"
        "for _ in range(8):\n"
        "    if (child := os.fork()) == 0:\n"
        "        x = bytearray(b'x' * (30 << 20)); time.sleep(600); os._exit(0)\n"
        "    children.append(child)\n"
        "raise SystemExit(max(os.waitpid(c, 0)[1] for c in children) != 0)\n",
        memory_bytes=96 * MIB,
        control_groups=control_groups,
    )
    assert ran.end.limit == "memory"


async def test_memory_cannot_hide_in_nameless_files_without_a_control_group():
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        "import os\nos.memfd_create('hidden')", control_groups=False
    )
    assert b"PermissionError" in ran.stderr


@EITHER
async def test_a_fork_bomb_stays_small(control_groups: bool):
    ran = await native_python_job(
        "import os, time\n"
        "count = 0\n"
        "try:\n"
        "    while count < 2000:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600); os._exit(0)\n"
        "        count += 1\n"
        "except OSError:\n"
        "    pass\n"
        "print(count)\n",
        memory_bytes=512 * MIB,
        control_groups=control_groups,
    )
    assert ran.end.limit is None, ran.end
    assert 0 < int(ran.stdout) <= 256


@EITHER
async def test_one_huge_file_is_stopped(control_groups: bool):
    ran = await native_python_job(
        "with open('huge', 'wb') as f:\n"
        "    for _ in range(400): f.write(bytes(1 << 20)); f.flush()\n",
        disk_bytes=8 * MIB,
        control_groups=control_groups,
    )
    assert ran.end.exit_code != 0


async def test_many_files_that_exceed_the_disk_are_stopped():
    ran = await shell_job(
        "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; done",
        disk_bytes=8 * MIB,
    )
    assert ran.end.limit == "disk"


async def test_many_empty_files_are_stopped():
    ran = await native_python_job(
        "for i in range(10**7): open(str(i), 'w').close()", files_max=300
    )
    assert ran.end.limit == "files"


async def test_a_script_with_many_files_is_stopped():
    ran = await python_job(
        "for i in range(10**7): open(str(i), 'w').write('x' * 5000)", files_max=300
    )
    assert ran.end.limit == "files"


@pytest.mark.parametrize("hide", ["pass", "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)"])
async def test_files_without_a_name_count_to_the_disk(hide: str):
    ran = await native_python_job(
        "import ctypes, os, time\n"
        f"{hide}\n"
        "held = []\n"
        "for i in range(10):\n"
        "    held.append(open('f', 'wb')); os.unlink('f')\n"
        "    held[-1].write(bytes(4 << 20)); held[-1].flush()\n"
        "time.sleep(600)\n",
        disk_bytes=8 * MIB,
    )
    assert ran.end.limit == "disk"


async def test_files_without_a_name_cannot_hide_behind_mappings():
    ran = await native_python_job(
        "import mmap, os, time\n"
        "held = []\n"
        "for i in range(20):\n"
        "    with open('f', 'w+b') as f:\n"
        "        f.write(bytes(4096)); f.flush()\n"
        "        held.append(mmap.mmap(os.dup(f.fileno()), 4096))\n"
        "    os.unlink('f')\n"
        "os.closerange(3, 256)\n"
        "time.sleep(600)\n",
        disk_bytes=8 * MIB,
    )
    assert ran.end.limit == "disk"


async def test_files_of_a_script_without_a_name_count_to_the_disk():
    ran = await python_job(
        "import os, time\n"
        "held = []\n"
        "for i in range(10):\n"
        "    held.append(open('f', 'wb')); os.unlink('f')\n"
        "    held[-1].write(bytes(4 << 20)); held[-1].flush()\n"
        "time.sleep(600)\n",
        disk_bytes=8 * MIB,
    )
    assert ran.end.limit == "disk"


async def test_temporary_files_count_to_the_disk():
    script = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > /tmp/f$i; done"
    assert (await shell_job(script, disk_bytes=8 * MIB)).end.limit == "disk"


async def test_a_directory_too_deep_to_measure_ends_the_job():
    script = "while mkdir d && cd d; do :; done; sleep 600"
    ran = await shell_job(script, files_max=20_000)
    assert ran.end.limit == "disk"


async def test_what_a_quick_job_wrote_is_measured_when_it_has_ended():
    ran = await shell_job(
        "for i in 1 2 3 4; do head -c 3000000 /dev/zero > f$i; done",
        disk_bytes=8 * MIB,
    )
    assert ran.end.limit == "disk"


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_flood_of_output_is_cut_at_the_limit(stream: int):
    ran = await shell_job(f"yes >&{stream}", log_bytes_max=50_000)
    assert ran.end.limit == "log"
    assert len(ran.stdout) + len(ran.stderr) == 50_000
    assert (ran.end.stdout_truncated, ran.end.stderr_truncated) == (
        stream == 1,
        stream == 2,
    )
    assert sum(len(chunk) for _, chunk in ran.log) == 50_000


async def test_a_script_that_floods_its_output_is_cut_at_the_limit():
    ran = await python_job("while True: print('x' * 1000)", log_bytes_max=50_000)
    assert ran.end.limit == "log"
    assert len(ran.stdout) == 50_000


async def test_output_of_exactly_the_limit_is_whole():
    ran = await shell_job("head -c 50000 /dev/zero", log_bytes_max=50_000)
    assert ran.end.limit is None
    assert not ran.end.stdout_truncated
    assert len(ran.stdout) == 50_000


async def test_a_share_of_a_processor_is_all_a_job_gets():
    capability = await need("process")
    if "cgroup" not in capability.isolation:
        pytest.skip("holding a share of a processor needs a control group")
    ran = await shell_job("while :; do :; done", cpu_millis=200, wall_s=2)
    assert ran.end.limit == "wall"
    assert ran.end.usage.cpu_ms < 1000


async def test_a_guest_that_asks_for_too_much_memory_at_once_does_not_start():
    # (module (memory (export "memory") 4000) (func (export "_start")))
    module = bytes.fromhex(
        "0061736d0100000001040160000003020100050401"
        "00a01f071302066d656d6f72790200065f737461727400000a040102000b"
    )
    ran = await attempt(an_order("wasm", "m.wasm"), {"m.wasm": module})
    assert ran.end.exit_code == 134
    assert "memory" in (ran.end.reason or "")


async def test_a_job_directory_closed_to_the_node_is_no_harm():
    ran = await shell_job("echo x > out; chmod 0 /job; sleep 0.2")
    assert ran.end.limit in {None, "disk"}
    assert ran.paths == ["out"]


@EITHER
async def test_a_directory_closed_to_the_node_hides_nothing(control_groups: bool):
    ran = await native_python_job(
        "import os, time\n"
        "os.mkdir('d')\n"
        "for i in range(12): open(f'd/{i}', 'wb').write(bytes(1 << 20))\n"
        "os.chmod('d', 0)\n"
        "time.sleep(600)\n",
        disk_bytes=8 * MIB,
        control_groups=control_groups,
    )
    assert ran.end.limit == "disk"
