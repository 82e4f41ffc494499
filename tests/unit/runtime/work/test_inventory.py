"""A machine is told of as it is, and nothing that is missing fails a node."""

import platform

from nunet_node.executors.sandbox.nvml import find_devices
from nunet_node.market.offers import Gpu
from nunet_node.runtime.work.inventory import figures, gpus, machine
from tests.executors_kit import RecordedDriver

GIB = 1 << 30


def test_every_gpu_is_told_with_its_memory():
    library = RecordedDriver()
    expected = Gpu(
        vendor="nvidia", model="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB
    )
    assert gpus(find_devices(library)) == (expected, expected)
    assert library.open == 0


def test_the_figures_are_measured(tmp_path):
    measured = figures(tmp_path)
    assert measured.integer_mib_s > 0
    assert measured.memory_mib_s > 0
    assert measured.disk_mib_s > 0


def test_a_disk_that_cannot_be_written_is_not_measured(tmp_path):
    assert figures(tmp_path / "gone").disk_mib_s == 0


def test_the_architecture_is_the_kernel_s_word(tmp_path):
    assert machine(tmp_path).architecture == platform.machine()
