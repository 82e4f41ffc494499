"""The processes of a run: paused, told to go on, and ended whatever they are."""

import os

import trio

from nunet_node.cli.simulation.processes import Processes
from nunet_node.simulator.scenario import Scenario
from nunet_node.simulator.world.population import populate


async def changed(child, how):
    """Wait until a process has been stopped, or has gone on."""
    pid = child.process.pid
    await trio.to_thread.run_sync(os.waitid, os.P_PID, pid, how | os.WNOWAIT)


async def test_a_process_is_paused_and_goes_on_and_is_ended_while_it_is_paused(
    tmp_path,
):
    machine = populate(Scenario(), 1)[0]
    async with trio.open_nursery() as nursery:
        processes = Processes(tmp_path, lambda *_: None, nursery)
        # Waits for input, of which there is none.
        child = await processes.begin(machine, ["code", "-q"])
        processes.pause(machine)
        await changed(child, os.WSTOPPED)
        processes.go_on(machine)
        await changed(child, os.WCONTINUED)
        processes.pause(machine)
        await changed(child, os.WSTOPPED)
        await processes.stop()
        assert child.process.returncode is not None
        processes.go_on(machine)
