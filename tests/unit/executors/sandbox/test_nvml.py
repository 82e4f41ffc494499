"""What NVIDIA's library says of a machine, and when it says nothing."""

import pytest

from nunet_node.executors.sandbox.nvml import find_devices
from nunet_node.market.offers import GPUS_MAX
from tests.executors_kit import RecordedDriver


def test_a_device_has_its_node_its_uuid_and_its_place():
    first, second = find_devices(RecordedDriver())
    assert (first.name, first.nodes) == ("nvidia2", ("/dev/nvidia2",))
    assert (first.uuid, second.uuid) == ("GPU-0", "GPU-1")


def test_a_name_in_bytes_is_read_too():
    (only,) = find_devices(RecordedDriver((b"Tesla T4",)))
    assert only.kind.model == "Tesla T4"


def test_without_a_driver_there_is_no_gpu():
    assert find_devices(RecordedDriver(driver=False)) == ()


def test_a_driver_that_fails_has_no_gpu_to_offer():
    library = RecordedDriver()
    library.names = (None,)
    library.nvmlDeviceGetMemoryInfo = lambda _handle: None
    assert find_devices(library) == ()
    assert library.open == 0


def test_an_advert_has_room_for_so_many():
    assert len(find_devices(RecordedDriver(("T4",) * (GPUS_MAX + 5)))) == GPUS_MAX


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("CRITICAL")
