"""A container is asked for with every barrier, and believed only if it has them."""

import json
import os
from pathlib import Path

import pytest

from nunet_node.executors.container.api import Made, State
from nunet_node.executors.container.box import (
    document,
    filter_for,
    shortcomings,
    shown_by_kernel,
)
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.sandbox.seccomp import native_document
from tests.executors_kit import MIB, an_order


@pytest.fixture
def job_dir(tmp_path: Path) -> JobDir:
    return JobDir(root=tmp_path / "job-1", uid=60601, locks=[])


def asked(job_dir: JobDir, **changes):
    order = an_order("container", "true", image="a:1", **changes)
    return document(order, job_dir, "sha256:1", rootless=False, filtered="{}")


def made(document):
    return Made(
        state=State(),
        config={"User": document["User"]},
        host={**document["HostConfig"], "Privileged": False, "CapAdd": None},
    )


def test_every_barrier_is_asked_for(job_dir):
    given = asked(job_dir, memory_bytes=64 * MIB, cpu_millis=500)
    host = given["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp={}"]
    assert host["ReadonlyRootfs"] is True
    assert (host["Memory"], host["MemorySwap"]) == (64 * MIB, 64 * MIB)
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] > 0
    assert given["User"] == "60601:60601"


def test_only_the_job_s_own_directories_are_seen(job_dir):
    mounts = asked(job_dir)["HostConfig"]["Mounts"]
    assert {each["Source"]: each["Target"] for each in mounts} == {
        str(job_dir.path): "/job",
        str(job_dir.tmp_path): "/tmp",
    }


def test_an_engine_gets_the_filter_of_a_native_program_in_its_own_way(job_dir):
    job_dir.path.mkdir(parents=True)
    place = Path(filter_for(job_dir, podman=True))
    assert place.parent == job_dir.root
    text = filter_for(job_dir, podman=False)
    assert json.loads(place.read_text()) == json.loads(text) == native_document()
    named = {call for rule in native_document()["syscalls"] for call in rule["names"]}
    assert {"unshare", "keyctl", "io_uring_setup", "ptrace", "socket"} <= named


def test_an_engine_without_root_keeps_our_own_user(job_dir):
    order = an_order("container", "true", image="a:1")
    given = document(order, job_dir, "sha256:1", rootless=True, filtered="{}")
    assert given["HostConfig"]["UsernsMode"] == "keep-id"


def test_what_was_made_as_asked_has_no_shortcoming(job_dir):
    given = asked(job_dir)
    assert shortcomings(given, made(given)) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NetworkMode", "bridge"),
        ("Memory", 0),
        ("PidsLimit", 0),
        ("ReadonlyRootfs", False),
        ("Privileged", True),
        ("CapAdd", ["SYS_ADMIN"]),
    ],
)
def test_an_engine_that_ignores_a_barrier_is_found_out(job_dir, name, value):
    given = asked(job_dir)
    answer = made(given)
    answer.host[name] = value
    assert shortcomings(given, answer) == (name,)


def test_an_engine_that_runs_as_somebody_else_is_found_out(job_dir):
    given = asked(job_dir)
    answer = made(given)
    answer.config["User"] = ""
    assert shortcomings(given, answer) == ("User",)


def test_the_kernel_shows_a_process_without_barriers():
    short = shown_by_kernel(os.getpid(), 1)
    assert "a network of its own" in short
    assert "no-new-privileges" in short
    assert "a filter of system calls" in short


def test_of_a_process_that_is_gone_nothing_is_shown():
    assert shown_by_kernel(2**30, 1) == ()
