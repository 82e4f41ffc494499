"""``python -m tests.bench.simulation``: how fast the simulator is here.

Prints rates a second of processor time, with quick signatures and with real ones.
Events are moments that came due: a delayed message or a timer, and its handler. Inputs
are those of them that production nodes handled. Deliveries are messages that came to a
machine, frames and copies of gossip: of most copies the overlay finds out, as gossipsub
would, that the machine has had another.
"""

import argparse
import sys
import time

import msgspec

from nunet_node.simulator.plan import NS_PER_S, make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Fleet, Scenario, Work
from tests.bench.figures import table

CALM = Scenario(
    run_s=20,
    work=Work(jobs=100, every_ms=200, cancelled_permille=0, inputs_permille=0),
)


JOINED_S = 6
"""When everybody has joined; before that, neighbours send each other all they know."""


MEASURED_S = 3
"""Virtual time that is measured: some hundred adverts, each heard by everybody, and
some fifteen jobs."""


def measured(machines: int, *, real: bool) -> list[str]:
    """Return one row: what a run of this size took."""
    fleet = Fleet(providers=machines * 9 // 10, submitters=machines // 10)
    scenario = msgspec.structs.replace(CALM, fleet=fleet, real_signatures=real)
    run = Run(make_plan(scenario, 1))
    world = run.world
    world.start()
    run.trouble.begin()
    world.agenda.run(JOINED_S * NS_PER_S)
    before, begun = _counts(run), time.process_time()
    world.agenda.run((JOINED_S + MEASURED_S) * NS_PER_S)
    took_s = time.process_time() - begun
    counts = zip(before, _counts(run), strict=True)
    shown = [f"{int((after - count) / took_s)}" for count, after in counts]
    return [
        f"{machines} machines, {'Ed25519' if real else 'quick signatures'}",
        f"{took_s:.1f}",
        *shown,
    ]


def _counts(run: Run) -> tuple[int, int, int]:
    world = run.world
    delivered = world.overlay.sent + world.wires.frames
    return world.agenda.events, world.inputs, delivered


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machines", type=int, default=1000)
    machines = parser.parse_args().machines
    rows = [measured(machines, real=real) for real in (False, True)]
    head = [
        "run",
        "CPU s",
        "events/s",
        "inputs/s",
        "deliveries/s",
    ]
    sys.stdout.write(table(head, rows) + "\n")


if __name__ == "__main__":
    main()
