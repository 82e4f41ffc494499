"""A job tries to read, reach or change what is not its own."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests.executors_kit import native_python_job, need, python_job, shell_job

TRY = """
import os, socket, sys
def attempt(name, act):
    try:
        print(name, 'GOT', act())
    except BaseException as error:
        print(name, 'refused', type(error).__name__)
"""


@pytest.fixture
def secret():
    """A file that anyone on this machine may read, such as a careless node key."""
    with tempfile.NamedTemporaryFile("w", dir="/var/tmp") as file:
        file.write("the secret of the host")
        file.flush()
        Path(file.name).chmod(0o644)
        yield file.name


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/passwd", "/root", "/proc/1/root/etc/shadow"]
)
async def test_a_native_job_cannot_read_the_host(path: str):
    ran = await shell_job(f"cat {path} || ls {path}")
    assert ran.stdout == b""
    assert ran.end.exit_code != 0


async def test_a_native_job_cannot_read_a_world_readable_secret(secret: str):
    ran = await shell_job(f"cat {secret}; find / -name '{Path(secret).name}' 2>&-")
    assert b"secret" not in ran.stdout
    assert Path(secret).name.encode() not in ran.stdout


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "../../../etc/passwd", "/proc/self/environ", "/dev/null"]
)
async def test_a_script_cannot_read_the_host(path: str):
    ran = await python_job(f"{TRY}\nattempt('read', lambda: open({path!r}).read())")
    assert ran.stdout == b"read refused FileNotFoundError\n" or (
        b"refused" in ran.stdout and b"GOT" not in ran.stdout
    )


async def test_a_script_cannot_read_through_a_link_it_made(secret: str):
    up = "../" * 12 + secret.lstrip("/")
    ran = await python_job(
        f"{TRY}\n"
        f"attempt('link', lambda: os.symlink({up!r}, 'out'))\n"
        "attempt('read', lambda: open('out').read())\n"
        f"attempt('absolute', lambda: os.symlink({secret!r}, 'abs'))\n"
    )
    assert b"secret" not in ran.stdout
    assert b"read refused" in ran.stdout
    assert "out" not in ran.paths


async def test_a_script_has_no_processes_and_no_sockets():
    ran = await python_job(
        f"{TRY}\n"
        "attempt('fork', lambda: os.fork())\n"
        "attempt('system', lambda: os.system('id'))\n"
        "attempt('socket', lambda: socket.socket().connect(('127.0.0.1', 1)))\n"
        "attempt('kill', lambda: os.kill(1, 9))\n"
    )
    assert b"GOT" not in ran.stdout
    assert ran.stdout.count(b"refused") == 4


async def test_a_native_job_cannot_reach_the_host_over_the_network():
    name = "\0nunet-node-test-abstract"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        abstract.bind(name)
        abstract.listen()
        ran = await native_python_job(
            f"{TRY}\n"
            f"port = {tcp.getsockname()[1]}\n"
            "attempt('tcp', lambda: socket.create_connection(('127.0.0.1', port), 2))\n"
            "def udp():\n"
            "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "    s.connect(('8.8.8.8', 53))\n"
            "    return s.send(b'x')\n"
            "attempt('udp', udp)\n"
            "def unix():\n"
            "    s = socket.socket(socket.AF_UNIX)\n"
            f"    s.connect({name!r})\n"
            "attempt('unix', unix)\n"
            "attempt('netlink', lambda: socket.socket(socket.AF_NETLINK))\n"
        )
    assert b"GOT" not in ran.stdout
    assert ran.stdout.count(b"refused") == 4


async def test_a_native_job_cannot_write_kernel_settings():
    # Opened for writing and closed again: writing would change this machine.
    ran = await native_python_job(
        f"{TRY}\n"
        "for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger',\n"
        "             '/proc/sys/vm/drop_caches', '/sys/kernel/uevent_helper'):\n"
        "    attempt('open', lambda: os.open(path, os.O_WRONLY))\n"
    )
    assert b"GOT" not in ran.stdout
    assert ran.stdout.count(b"refused") == 4


async def test_a_native_job_can_write_only_to_its_own_directories():
    ran = await native_python_job(
        f"{TRY}\n"
        "for folder in ('/', '/usr', '/usr/bin', '/etc', '/dev', '/proc', '/sys'):\n"
        "    attempt(folder, lambda: open(folder + '/planted', 'w'))\n"
        "attempt('job', lambda: open('/job/mine', 'w'))\n"
        "attempt('tmp', lambda: open('/tmp/mine', 'w'))\n"
    )
    lines = ran.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if "GOT" in line] == ["job", "tmp"]


async def test_a_native_job_cannot_fill_shared_memory():
    ran = await shell_job("head -c 4000000 /dev/zero > /dev/shm/a; wc -c < /dev/shm/a")
    assert int(ran.stdout) <= 1 << 20


async def test_a_native_job_sees_only_its_own_processes():
    ran = await shell_job(
        f"ls /proc | grep -c '^[0-9]'; kill -0 {os.getpid()} && echo HIT"
    )
    assert int(ran.stdout.split()[0]) < 10
    assert b"HIT" not in ran.stdout


async def test_a_native_job_cannot_open_namespaces_or_trace():
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        f"{TRY}\n"
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number, *rest):\n"
        "    if libc.syscall(number, *rest) < 0: raise OSError(ctypes.get_errno())\n"
        "    return 'done'\n"
        "calls = {'unshare': 272, 'mount': 165, 'ptrace': 101, 'keyctl': 250,\n"
        "         'bpf': 321, 'io_uring_setup': 425, 'userfaultfd': 323,\n"
        "         'setns': 308, 'chroot': 161, 'perf_event_open': 298}\n"
        "for name, number in calls.items():\n"
        "    attempt(name, lambda: call(number, 0x10000000, 0, 0, 0, 0))\n"
    )
    assert b"GOT" not in ran.stdout
    assert ran.stdout.count(b"refused") == 10


async def test_a_native_job_inherits_no_descriptor_of_the_node():
    ran = await native_python_job(
        "import os\nprint(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])"
    )
    assert ran.stdout == b"[0, 1, 2]\n"


async def test_set_user_id_programs_give_nothing():
    ran = await shell_job(
        "grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status"
    )
    assert ran.stdout.split() == [b"NoNewPrivs:", b"1", b"CapEff:", b"0" * 16]


async def test_a_job_cannot_read_its_own_log_files_or_another_job():
    ran = await shell_job("ls /job/.. ; cat /job/../stdout; ls -d /var /run /home")
    assert b"stdout" not in ran.stdout
    assert b"/var" not in ran.stdout
