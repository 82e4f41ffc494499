import os

import pytest

from nunet_node.executors.port import Engine
from nunet_node.executors.spawn import ChildSays, said
from tests.executors_kit import an_order, attempt

COMMANDS: dict[Engine, tuple[str, ...]] = {
    "python": ("main.py",),
    "process": ("sh", "-c", "echo hello; exit 5"),
}
FILES = {"main.py": b"print('hello'); raise SystemExit(5)"}


@pytest.mark.parametrize("engine", ["python", "process"])
async def test_a_fork_of_a_warm_process_runs_like_a_process_of_its_own(engine: Engine):
    order = an_order(engine, *COMMANDS[engine])
    alone = await attempt(order, FILES)
    warm = await attempt(order, FILES, warm=True)
    assert warm.stdout == alone.stdout == b"hello\n"
    assert warm.end.exit_code == alone.end.exit_code == 5
    assert warm.end.isolation == alone.end.isolation
    assert warm.starts == 1


async def test_a_run_leaves_no_descriptor_open():
    await attempt(an_order("process", "true"))
    before = set(os.listdir("/proc/self/fd"))
    for engine, command in COMMANDS.items():
        await attempt(an_order(engine, *command), FILES)
    await attempt(an_order("process", "sleep", "60", wall_s=1))
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"exit": "0"}',
        b'{"exit": 256}',
        b'{"exit": -1}',
        b'{"fuel": 1e9999}',
        b'{"peak_kib": 99999999999999999999}',
        b'{"child-pid": true}',
        b'{"reason": "' + b"x" * 3000 + b'"}',
        b'{"started": "abc"}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_claim_says_nothing(line: bytes):
    assert said(line) == ChildSays()


def test_what_is_said_later_is_added_and_holds():
    first = said(b'{"child-pid": 12, "mnt-namespace": 4026532178}')
    both = first.then(said(b'{"exit-code": 0}')).then(said(b'{"exit-code": 3}'))
    assert (both.first_pid, both.box_exit) == (12, 3)
