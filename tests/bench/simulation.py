"""``python -m tests.bench.simulation``: how fast the simulator is here.

Prints the node inputs, events and gossip copies a second of processor time, with quick
signatures and with real ones. Inputs are what production nodes handled; events are all
that the agenda did; copies are gossip transmissions, most of which need no event.
"""

import argparse
import sys
import time

import msgspec

from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Fleet, Scenario, Work
from tests.bench.figures import table

CALM = Scenario(
    run_s=10,
    work=Work(jobs=100, every_ms=50, cancelled_permille=0, inputs_permille=0),
)


def measured(machines: int, *, real: bool) -> list[str]:
    """Return one row: what a run of this size took."""
    fleet = Fleet(providers=machines * 9 // 10, submitters=machines // 10)
    scenario = msgspec.structs.replace(CALM, fleet=fleet, real_signatures=real)
    run = Run(make_plan(scenario, 1))
    begun = time.process_time()
    outcome = run.play()
    took_s = time.process_time() - begun
    rates = (outcome.inputs, outcome.events, run.world.overlay.sent)
    shown = [f"{int(count / took_s)}" for count in rates]
    return [
        f"{machines} machines, {'Ed25519' if real else 'quick signatures'}",
        f"{took_s:.1f}",
        *shown,
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machines", type=int, default=1000)
    machines = parser.parse_args().machines
    rows = [measured(machines, real=real) for real in (False, True)]
    head = ["run", "CPU s", "inputs/s", "events/s", "gossip copies/s"]
    sys.stdout.write(table(head, rows) + "\n")


if __name__ == "__main__":
    main()
