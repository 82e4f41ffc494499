"""A job tries to hold what no name and no process shows."""

import pytest

from nunet_node.executors.sandbox.holdings import IN_FLIGHT_LOOKS_MAX, Flight
from nunet_node.quantities import INT53_MAX
from tests.executors_kit import MIB, native_python_job, need, shell_job

WRITTEN = "import ctypes, mmap, os, socket, threading, time\nlibc = ctypes.CDLL(None)\n"
"""What every script begins with."""

THREADS = """
VM, SIGHAND, THREAD = 0x100, 0x800, 0x10000
stacks = []
for _ in range(6):
    file = os.open('f', os.O_RDWR | os.O_CREAT)
    os.unlink('f')
    stacks.append(ctypes.create_string_buffer(1 << 16))
    top = (ctypes.addressof(stacks[-1]) + (1 << 16) - 64) & ~15
    libc.clone(libc.pause, ctypes.c_void_p(top), VM | SIGHAND | THREAD, None)
    os.write(file, bytes(4 << 20))
    os.close(file)
time.sleep(600)
"""
"""Each thread has a copy of the descriptors, in which one file stays open."""

SENT = """
pairs = []
for _ in range(6):
    pairs.append(socket.socketpair())
    file = os.open('f', os.O_RDWR | os.O_CREAT)
    os.unlink('f')
    socket.send_fds(pairs[-1][0], [b'x'], [file])
    os.write(file, bytes(4 << 20))
    os.close(file)
time.sleep(600)
"""

ORPHANED = """
def hold():
    time.sleep(0.2)
    held = bytearray(b'x' * (90 << 20))
    time.sleep(600)
threading.Thread(target=hold).start()
libc.syscall(exit_thread, 0)
"""
"""The first thread ends, and with it what /proc shows of the whole process."""

SHARED = """
held = mmap.mmap(-1, 150 << 20)
for at in range(0, len(held), 4096): held[at] = 1
time.sleep(600)
"""

TRIMMED = """
libc.mmap.restype = libc.munmap.restype = ctypes.c_void_p
for _ in range(12):
    at = libc.mmap(None, 1 << 20, 3, 0x21, -1, 0)
    ctypes.memset(at, 1, 1 << 20)
    libc.munmap(ctypes.c_void_p(at + 4096), (1 << 20) - 4096)
time.sleep(600)
"""

NAMED = """
held = []
for number in range(40):
    name = f'{number}\\rb c 0 0:0 0 x'
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(1 << 20))
    held.append(mmap.mmap(file, 1 << 20))
    os.unlink(name)
    os.close(file)
time.sleep(600)
"""
"""Files that are mapped alone, whose names look like the beginning of a line."""

UNIX = """
for _ in range(4):
    if os.fork() == 0:
        pairs = [socket.socketpair() for _ in range(100)]
        for each in (one for pair in pairs for one in pair):
            each.setblocking(False)
            try:
                while True: each.send(bytes(65536))
            except OSError: pass
        time.sleep(600)
time.sleep(600)
"""

LOOPBACK = """
server = socket.create_server(('127.0.0.1', 0))
held = []
for _ in range(100):
    held.append(socket.create_connection(server.getsockname()))
    held.append(server.accept()[0])
    for each in held[-2:]:
        each.setblocking(False)
        try:
            while True: each.send(bytes(65536))
        except OSError: pass
time.sleep(600)
"""

EXIT_THREAD = {"x86_64": 60, "aarch64": 93}
"""The call that ends one thread, unlike the C library's."""


async def test_files_without_a_name_cannot_hide_in_a_thread_of_their_own():
    ran = await native_python_job(WRITTEN + THREADS, disk_bytes=8 * MIB)
    assert ran.end.limit == "disk"


async def test_files_without_a_name_cannot_stay_on_their_way_through_a_socket():
    ran = await native_python_job(WRITTEN + SENT, disk_bytes=8 * MIB, wall_s=60)
    assert ran.end.limit == "disk"
    assert "over a socket" in (ran.end.reason or "")


def test_what_is_on_its_way_for_a_moment_is_no_offence():
    flight = Flight()
    for _ in range(3):
        assert not any(flight.too_long(1) for _ in range(IN_FLIGHT_LOOKS_MAX))
        assert not flight.too_long(0)
    assert [flight.too_long(1) for _ in range(IN_FLIGHT_LOOKS_MAX + 1)][-1]


@pytest.mark.parametrize(
    "script",
    [ORPHANED, SHARED, TRIMMED, UNIX, LOOPBACK],
    ids=["orphaned", "shared", "trimmed", "unix", "loopback"],
)
async def test_memory_cannot_hide_where_no_process_shows_it(script: str):
    number = f"exit_thread = {EXIT_THREAD}[os.uname().machine]\n"
    ran = await native_python_job(
        WRITTEN + number + script, memory_bytes=64 * MIB, control_groups=False
    )
    assert ran.end.limit == "memory"
    assert ran.end.usage.memory_peak_bytes <= INT53_MAX


async def test_a_file_s_name_cannot_end_a_line_of_what_the_kernel_tells():
    ran = await native_python_job(WRITTEN + NAMED, disk_bytes=8 * MIB, wall_s=60)
    assert ran.end.limit == "disk"


async def test_a_file_s_name_cannot_make_what_the_kernel_tells_unreadable():
    script = "file = open('x\\r(deleted)', 'w+b'); file.write(bytes(9)); file.flush()\n"
    held = "held = mmap.mmap(file.fileno(), 9); time.sleep(2)\n"
    ran = await native_python_job(WRITTEN + script + held)
    assert (ran.end.exit_code, ran.end.limit) == (0, None)


async def test_a_queue_that_cannot_be_counted_cannot_be_made_longer():
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        WRITTEN + "one, other = socket.socketpair()\n"
        "one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)\n",
        control_groups=False,
    )
    assert b"PermissionError" in ran.stderr


async def test_no_disk_is_taken_beyond_the_end_of_a_file():
    capability = await need("process")
    if "seccomp" not in capability.isolation:
        pytest.skip("the system-call filter needs libseccomp")
    ran = await native_python_job(
        WRITTEN + "file = os.open('f', os.O_RDWR | os.O_CREAT)\n"
        "size = ctypes.c_long(1 << 30)\n"
        "keep = libc.fallocate(file, 1, ctypes.c_long(0), size)\n"
        "print(keep, os.fstat(file).st_blocks)\n"
    )
    assert ran.stdout == b"-1 0\n"


async def test_a_file_that_reached_the_limit_exactly_is_within_it():
    ran = await shell_job("head -c 8388608 /dev/zero > f", disk_bytes=8 * MIB)
    assert (ran.end.limit, ran.end.exit_code) == (None, 0)
    assert ran.paths == ["f"]


async def test_a_file_that_was_stopped_at_the_limit_is_reported_as_too_much():
    script = "head -c 8388609 /dev/zero > f; head -c 1 /dev/zero >> f"
    ran = await shell_job(script, disk_bytes=8 * MIB)
    assert ran.end.limit == "disk"
