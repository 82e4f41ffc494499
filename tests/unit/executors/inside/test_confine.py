import os
import subprocess
import sys
from pathlib import Path

import pytest

from nunet_node.executors.inside import landlock
from nunet_node.executors.sandbox import seccomp

ROOT = Path(__file__).parents[4]


def in_child(script: str, *arguments: str) -> str:
    """Run a script that gives things up for good, and return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == "", ran.stderr
    return ran.stdout.strip()


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_landlock_leaves_only_the_given_directories(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").write_text("x")
    script = (
        "import sys\n"
        "from nunet_node.executors.inside import confine, landlock\n"
        "confine.no_new_privileges()\n"
        "assert landlock.restrict([sys.argv[1] + '/mine'])\n"
        "open(sys.argv[1] + '/mine/new', 'w').write('y')\n"
        "for path in (sys.argv[1] + '/other', '/etc/passwd', '/proc/self/status'):\n"
        "    try: open(path); print('opened', path)\n"
        "    except PermissionError: print('refused')\n"
    )
    assert in_child(script, str(tmp_path)).split() == ["refused"] * 3
    assert (tmp_path / "mine/new").read_text() == "y"


def test_a_limit_is_lowered_and_never_above_what_is_allowed():
    script = (
        "import resource\n"
        "from nunet_node.executors.inside import confine\n"
        "confine.set_limits({'RLIMIT_NOFILE': 64})\n"
        "confine.set_limits({'RLIMIT_NOFILE': 4096, 'RLIMIT_CORE': 0})\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    assert in_child(script) == "(64, 64)\n(0, 0)"


def test_a_child_of_somebody_else_ends_itself():
    script = (
        "import os\n"
        "from nunet_node.executors.inside import confine\n"
        "if (child := os.fork()) == 0:\n"
        "    confine.die_with(1 if os.getppid() != 1 else 2)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert in_child(script) == "-9"


@pytest.mark.skipif(not seccomp.runner_filter(), reason="libseccomp is missing")
def test_a_confined_runner_has_threads_but_no_processes_and_no_sockets(tmp_path: Path):
    script = (
        "import json, os, socket, sys, threading\n"
        "from nunet_node.executors.inside import confine\n"
        "achieved = confine.confine({'uid': None, 'parent': os.getppid(),\n"
        "    'limits': {}, 'writable': [sys.argv[1]], 'seccomp': sys.argv[2]})\n"
        "assert 'seccomp' in achieved\n"
        "thread = threading.Thread(target=print, args=('thread',))\n"
        "thread.start(); thread.join()\n"
        "for act in (os.fork, socket.socket, lambda: os.execv('/bin/true', ['x'])):\n"
        "    try: act(); print('done')\n"
        "    except PermissionError: print('refused')\n"
    )
    program = seccomp.runner_filter().hex()
    said = in_child(script, str(tmp_path), program)
    assert said.split() == ["thread", "refused", "refused", "refused"]
