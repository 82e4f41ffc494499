"""What a cluster gave is what a job has, or the job has nothing and does not run."""

from pathlib import Path

import pytest

from nunet_node.executors.port import DevicesError
from nunet_node.executors.sandbox import given as giving
from nunet_node.executors.sandbox.devices import Device
from nunet_node.executors.sandbox.given import VARIABLE, given
from nunet_node.quantities import Gpus

GIB = 1 << 30
WANTED = Gpus(vendor="nvidia", model="A100", memory_bytes=40 * GIB)


def a_device(place, minor, memory_gib=40, node="/dev/null"):
    return Device(
        name=f"nvidia{minor}",
        kind=Gpus(vendor="nvidia", model="A100-SXM4", memory_bytes=memory_gib * GIB),
        nodes=(node,),
        uuid=f"GPU-{place}f",
    )


# As on machines whose driver does not count in the order of its nodes.
PRESENT = (a_device(0, minor=2), a_device(1, minor=0), a_device(2, minor=1))


def two(kind=WANTED):
    return (
        Gpus(vendor="nvidia", model="A100", memory_bytes=kind.memory_bytes, count=2),
    )


def names(found):
    return [device.name for device in found.devices]


def test_who_wants_none_has_none_whatever_the_cluster_gave():
    found = given((), {VARIABLE: "0,1"}, PRESENT)
    assert (found.devices, found.visible) == ((), "")


def test_a_number_is_a_place_in_the_order_of_the_driver():
    found = given(two(), {VARIABLE: "0,2"}, PRESENT)
    assert names(found) == ["nvidia2", "nvidia1"]


def test_for_slurm_a_number_is_a_place_in_the_order_of_the_nodes():
    found = given(two(), {VARIABLE: "0,2", "SLURM_JOB_ID": "7"}, PRESENT)
    assert names(found) == ["nvidia0", "nvidia2"]


def test_a_uuid_is_a_name_and_so_is_its_beginning():
    found = given(two(), {VARIABLE: "GPU-2f, GPU-1"}, PRESENT)
    assert names(found) == ["nvidia1", "nvidia0"]


def test_a_job_counts_what_it_has_from_zero():
    assert given(two(), {VARIABLE: "1,2"}, PRESENT).visible == "0,1"


def test_what_is_held_is_of_the_kind_that_was_promised():
    found = given((WANTED,), {VARIABLE: "1"}, PRESENT)
    assert [device.kind for device in found.devices] == [WANTED]


@pytest.mark.parametrize(
    "said", ["", "0", "0,1,2", "0,0", "NoDevFiles", "-1", "0,9", "0,MIG-7", "0,GPU-"]
)
def test_what_is_not_as_many_known_devices_is_nothing(said):
    with pytest.raises(DevicesError):
        given(two(), {VARIABLE: said}, PRESENT)


def test_one_device_under_two_names_is_one():
    with pytest.raises(DevicesError, match="twice"):
        given(two(), {VARIABLE: "0,GPU-0"}, PRESENT)


def test_without_a_word_of_the_cluster_there_is_none():
    with pytest.raises(DevicesError, match="the cluster gave"):
        given((WANTED,), {}, PRESENT)


def test_less_memory_than_was_promised_is_not_what_was_promised():
    small = (a_device(0, minor=0, memory_gib=39),)
    with pytest.raises(DevicesError, match="39GiB of memory, 40GiB were promised"):
        given((WANTED,), {VARIABLE: "0"}, small)


def test_a_device_without_its_node_is_none():
    with pytest.raises(DevicesError, match="is not here"):
        given((WANTED,), {VARIABLE: "0"}, (a_device(0, 0, node="/dev/nvidia-none"),))


def test_several_kinds_at_once_cannot_be_told_apart():
    other = Gpus(model="T4")
    with pytest.raises(DevicesError):
        given((WANTED, other), {VARIABLE: "0,1"}, PRESENT)


def test_without_a_driver_a_job_is_told_what_the_cluster_said(monkeypatch, tmp_path):
    monkeypatch.setattr(giving, "SHARED_NODES", (str(tmp_path / "none"),))
    monkeypatch.setattr(giving, "_OTHERS", tmp_path / "none")
    found = given(two(), {VARIABLE: "4,GPU-7"}, ())
    assert found.visible == "4,GPU-7"
    assert [device.nodes for device in found.devices] == [(), ()]


@pytest.mark.parametrize(
    ("shared", "others", "reason"),
    [("/dev/null", "none", "install nvidia-ml-py"), ("none", "/dev/null", "NVIDIA")],
)
def test_a_driver_that_cannot_be_asked_shows_nothing(
    monkeypatch, shared, others, reason
):
    monkeypatch.setattr(giving, "SHARED_NODES", (shared,))
    monkeypatch.setattr(giving, "_OTHERS", Path(others))
    with pytest.raises(DevicesError, match=reason):
        given((WANTED,), {VARIABLE: "0"}, ())
