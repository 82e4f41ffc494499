"""The work of a scenario on real processes, to be laid beside its simulation.

Each provider is a ``nunet-node up`` on loopback with one processor to offer, and this
process is the submitting peer. Rule: only the scenario's jobs and their moments are
taken; its faults and delays are not, so that what differs from the simulation is what
the simulation leaves out: this machine.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from nunet_node.cli.demo.network import providers
from nunet_node.client import Client, open_client
from nunet_node.jobs.job_file import JobFile
from nunet_node.jobs.specification import Engine
from nunet_node.simulator.plan import NS_PER_S, Placed, Plan, make_plan
from nunet_node.simulator.scenario import Fleet, Links, Scenario
from nunet_node.simulator.watch.measures import percentiles

PRICE_STEP_MICRO_NTX: Final = 100_000
"""What each provider asks more than the one before, so that the order is known."""

HEARD_S: Final = 60
"""How long the providers may take until all have been heard of."""

LOOPBACK_US: Final = 50
"""Delay of the loopback device, and of two processes taking turns."""

_NS_PER_US: Final = 1_000


@dataclass(slots=True)
class RealTimes:
    """What was measured, in microseconds since each job's submission."""

    accepted_us: list[int] = field(default_factory=list)
    started_us: list[int] = field(default_factory=list)
    ended_us: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)

    def measures(self) -> Mapping[str, Any]:
        """Return the same measures that a simulation has."""
        return {
            "jobs": len(self.ended_us),
            "states": dict(sorted(self.states.items())),
            "accepted_us": percentiles(self.accepted_us),
            "started_us": percentiles(self.started_us),
            "ended_us": percentiles(self.ended_us),
        }


def comparable(scenario: Scenario, nodes: int, seed: int) -> Plan:
    """Return the plan that real processes can follow: fair weather, equal machines."""
    fleet = Fleet(
        providers=nodes - 1,
        submitters=1,
        cpus=(1,),
        prices_micro_ntx=tuple(
            PRICE_STEP_MICRO_NTX * number for number in range(1, min(nodes, 64))
        ),
    )
    links = Links(
        regions=1,
        near_us=LOOPBACK_US,
        far_us=0,
        jitter_us=LOOPBACK_US,
        frame_us=scenario.links.frame_us,
    )
    work = msgspec.structs.replace(
        scenario.work, inputs_permille=0, cancelled_permille=0, cpus=(1,)
    )
    fair = Scenario(
        name=scenario.name,
        question=scenario.question,
        run_s=scenario.run_s,
        fleet=fleet,
        links=links,
        work=work,
        real_signatures=True,
    )
    return make_plan(fair, seed)


async def play_real(plan: Plan, homes: Path) -> Mapping[str, Any]:
    """Run the plan's jobs on real processes; return what was measured.

    Raises:
        PeerError: a provider did not start, or was not heard of.
    """
    times = RealTimes()
    fleet = plan.scenario.fleet
    async with providers(homes, fleet.providers) as started:
        addresses = [provider.address for provider in started]
        async with open_client(
            homes / "submitter", bootstrap=addresses[:1], gossip=True
        ) as client:
            with trio.move_on_after(HEARD_S):
                await client.until_heard(lambda nodes: len(nodes) >= len(started))
            placed = [h for h in plan.happenings if isinstance(h, Placed)]
            begun_ns = time.monotonic_ns()
            first_ns = placed[0].at_ns if placed else 0
            async with trio.open_nursery() as nursery:
                for wanted in placed:
                    due_ns = begun_ns + wanted.at_ns - first_ns
                    left_ns = due_ns - time.monotonic_ns()
                    await trio.sleep(max(0, left_ns) / NS_PER_S)
                    nursery.start_soon(_job, client, wanted, times)
    return times.measures()


async def _job(client: Client, wanted: Placed, times: RealTimes) -> None:
    work = JobFile(
        name=f"job-{wanted.number}",
        engine=Engine.PROCESS,
        command=("sh", "-c", f"sleep {wanted.run_ms / 1000}; exit {wanted.exit_code}"),
        cpu_millis=1000,
        memory_bytes=64 << 20,
        disk_bytes=64 << 20,
    )
    begun_ns = time.monotonic_ns()
    handle = await client.submit(work)
    await handle.placed()
    times.accepted_us.append((time.monotonic_ns() - begun_ns) // _NS_PER_US)
    await handle.started()
    times.started_us.append((time.monotonic_ns() - begun_ns) // _NS_PER_US)
    order = await handle.ended()
    times.ended_us.append((time.monotonic_ns() - begun_ns) // _NS_PER_US)
    times.states[order.state] = times.states.get(order.state, 0) + 1
