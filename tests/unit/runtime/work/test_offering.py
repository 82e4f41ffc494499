"""What a machine gains or loses while a node runs is offered without a restart."""

from nunet_node.executors.port import Capability
from nunet_node.executors.sandbox.devices import Device, Devices
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.runtime.settings import Provide
from nunet_node.runtime.work import detect
from nunet_node.runtime.work.offering import Offering


class Engines:
    """Executors of which only the probe is asked, and which give devices to jobs."""

    def __init__(self):
        self.devices = Devices()

    async def probe(self):
        return (
            Capability(engine="process", isolation="bwrap", ready=True, detail="ran"),
        )


class Told:
    """A driver that keeps what it is told."""

    def __init__(self):
        self.given = []

    async def tell(self, event):
        self.given.append(event)

    async def post(self, event):
        self.given.append(event)


def room(cpu_millis, disk_bytes=100):
    return ResourceVector(cpu_millis=cpu_millis, memory_bytes=10, disk_bytes=disk_bytes)


async def test_the_gpus_that_were_found_are_offered_and_can_be_held(tmp_path):
    kind = Gpus(vendor="nvidia", model="Tesla T4", memory_bytes=15 << 30)
    found = (Device(name="nvidia0", kind=kind, nodes=("/dev/nvidia0",)),)
    told = Told()
    provide = Provide(devices=lambda: found)
    offering = Offering(
        executors=Engines(), scratch=tmp_path, provide=provide, driver=told
    )

    await offering.start()

    assert told.given[0].total.gpu_kinds == (kind,)
    with offering.executors.devices.held([kind]) as nodes:
        assert nodes[0] == "/dev/nvidia0"


async def test_only_a_change_is_told(monkeypatch, tmp_path):
    machine = {"has": room(2000)}
    monkeypatch.setattr(detect, "detect", lambda _scratch: machine["has"])
    told = Told()
    offering = Offering(
        executors=Engines(), scratch=tmp_path, provide=Provide(), driver=told
    )

    await offering.start()
    await offering.look_again()
    machine["has"] = room(500, disk_bytes=1)
    await offering.look_again()

    assert [each.total for each in told.given] == [room(2000), room(500)]
    assert all(each.engines[0].engine == "process" for each in told.given)
