"""A machine is told of as it is, and nothing that is missing fails a node."""

import platform
from types import SimpleNamespace

import pytest

from nunet_node.market.offers import GPUS_MAX, Gpu
from nunet_node.runtime.work.inventory import figures, find_devices, gpus, machine

GIB = 1 << 30


class Recorded:
    """What the driver of a machine with two H100 answered."""

    def __init__(self, names=("NVIDIA H100 80GB HBM3",) * 2, *, driver=True):
        self.names = names
        self.driver = driver
        self.open = 0

    def nvmlInit(self):  # noqa: N802 - the library's names
        if not self.driver:
            raise RuntimeError("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, place):  # noqa: N802
        return place

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetMinorNumber(self, handle):  # noqa: N802
        return handle + 2

    def nvmlDeviceGetMemoryInfo(self, _handle):  # noqa: N802
        return SimpleNamespace(total=80 * GIB, free=79 * GIB, used=GIB)


def test_every_gpu_is_told_with_its_memory():
    library = Recorded()
    expected = Gpu(
        vendor="nvidia", model="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB
    )
    assert gpus(find_devices(library)) == (expected, expected)
    assert library.open == 0


def test_a_name_in_bytes_is_read_too():
    (only,) = gpus(find_devices(Recorded((b"Tesla T4",))))
    assert only.model == "Tesla T4"


def test_without_a_driver_there_is_no_gpu():
    assert gpus(find_devices(Recorded(driver=False))) == ()


def test_a_driver_that_fails_has_no_gpu_to_offer():
    library = Recorded()
    library.names = (None,)
    library.nvmlDeviceGetMemoryInfo = lambda _handle: None
    assert gpus(find_devices(library)) == ()
    assert library.open == 0


def test_an_advert_has_room_for_so_many():
    assert len(gpus(find_devices(Recorded(("T4",) * (GPUS_MAX + 5))))) == GPUS_MAX


def test_the_figures_are_measured(tmp_path):
    measured = figures(tmp_path)
    assert measured.integer_mib_s > 0
    assert measured.memory_mib_s > 0
    assert measured.disk_mib_s > 0


def test_a_disk_that_cannot_be_written_is_not_measured(tmp_path):
    assert figures(tmp_path / "gone").disk_mib_s == 0


def test_the_architecture_is_the_kernel_s_word(tmp_path):
    assert machine(tmp_path).architecture == platform.machine()


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("CRITICAL")
