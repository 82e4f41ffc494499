"""Where a container engine listens is found without asking anybody."""

import socket
from pathlib import Path

from nunet_node.executors.container.find import find_socket


def test_a_chosen_socket_wins():
    env = {"DOCKER_HOST": "unix:///run/mine.sock"}
    assert find_socket(env) == Path("/run/mine.sock")


def test_an_engine_on_another_machine_is_none_of_ours():
    assert find_socket({"DOCKER_HOST": "tcp://192.0.2.1:2375"}) is None


def test_the_user_s_own_engine_comes_before_the_system_s(tmp_path: Path):
    (tmp_path / "podman").mkdir()
    path = tmp_path / "podman/podman.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert find_socket({"XDG_RUNTIME_DIR": str(tmp_path)}) == path


def test_a_file_that_is_no_socket_is_passed_over(tmp_path: Path):
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").write_text("")
    found = find_socket({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found != tmp_path / "podman/podman.sock"
