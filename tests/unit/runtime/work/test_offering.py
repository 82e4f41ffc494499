"""What a machine gains or loses while a node runs is offered without a restart."""

from dataclasses import dataclass, field
from functools import partial

import trio

from nunet_node.executors.port import ENGINES, Capability
from nunet_node.executors.sandbox.devices import Device, Devices
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.runtime.settings import Provide
from nunet_node.runtime.work import detect
from nunet_node.runtime.work.offering import Offering, is_for_trying


class Engines:
    """Executors of which only the probe is asked, and which give devices to jobs."""

    in_doubt = False

    def __init__(self):
        self.devices = Devices()

    async def probe(self):
        return (
            Capability(engine="process", isolation="bwrap", ready=True, detail="ran"),
        )


@dataclass
class Machine:
    """Executors on a machine where engines hold, or do not, as the test says."""

    holds: set[str]
    tries: int = 0
    in_doubt: bool = False
    devices: Devices = field(default_factory=Devices)

    async def prepare(self):
        pass

    async def probe(self):
        self.tries += 1
        self.in_doubt = False
        return tuple(
            Capability(
                engine=each, isolation="box", ready=each in self.holds, detail="ran"
            )
            for each in ENGINES
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


async def test_an_engine_that_did_not_hold_is_offered_as_soon_as_it_does(tmp_path):
    machine = Machine(holds={"wasm"})
    send, receive = trio.open_memory_channel(0)

    class Driver(Told):
        async def post(self, event):
            await send.send({each.engine for each in event.engines})

    offering = Offering(
        executors=machine, scratch=tmp_path, provide=Provide(), driver=Driver()
    )
    await offering.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(offering.keep_up, every_s=0))
        assert await receive.receive() == {"wasm"}
        machine.holds.add("process")
        with trio.fail_after(30):
            while await receive.receive() != {"wasm", "process"}:
                pass
        nursery.cancel_scope.cancel()


async def test_an_engine_that_holds_no_more_is_withdrawn_and_offered_again(tmp_path):
    machine, told = Machine(holds={*ENGINES}), Told()
    offering = Offering(
        executors=machine, scratch=tmp_path, provide=Provide(), driver=told
    )
    await offering.start()
    offering.looks = 500
    machine.holds.discard("process")
    await offering.try_again()
    assert (machine.tries, len(told.given)) == (1, 1)

    machine.in_doubt = True
    await offering.try_again()
    assert {each.engine for each in told.given[-1].engines} == {*ENGINES} - {"process"}
    assert offering.looks == 0

    machine.holds.add("process")
    await offering.try_again()
    assert {each.engine for each in told.given[-1].engines} == {*ENGINES}
    assert len(told.given) == 3


async def test_what_is_offered_is_not_tried_again_and_what_failed_again_not_told(
    tmp_path,
):
    machine, told = Machine(holds={*ENGINES} - {"process"}), Told()
    offering = Offering(
        executors=machine, scratch=tmp_path, provide=Provide(), driver=told
    )
    await offering.start()
    await offering.try_again()
    assert (machine.tries, len(told.given)) == (2, 1)
    machine.holds.add("process")
    await offering.try_again()
    assert (machine.tries, len(told.given)) == (3, 2)
    await offering.try_again()
    assert (machine.tries, len(told.given)) == (3, 2)


def test_what_does_not_hold_is_tried_ever_less_often_and_never_given_up():
    tries = [looks for looks in range(1, 257) if is_for_trying(looks)]
    assert tries == [1, 2, 4, 8, 16, 32, 64, 128, 192, 256]
