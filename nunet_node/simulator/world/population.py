"""Who lives in a run: machines with their keys, places and characters.

Rule: a machine's key and character follow from the seed and its number alone, so a
larger fleet has the smaller one in it.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from nunet_node.simulator.plan import Copied, Plan
from nunet_node.simulator.scenario import Faults, Scenario
from nunet_node.simulator.world.keys import signer_for
from nunet_node.simulator.world.machine import Machine, Traits

SYBIL: Final = "sybil"
"""How the names of the machines begin behind which one person is."""


def populate(scenario: Scenario, seed: int) -> list[Machine]:
    """Return the machines: providers, submitting peers, spammers, and Sybils."""
    fleet, faults = scenario.fleet, scenario.faults
    count = scenario.machines + faults.spammers + faults.sybils
    machines = []
    for index in range(count):
        provides = index < fleet.providers
        submits = fleet.providers <= index < scenario.machines
        machines.append(_machine(scenario, seed, index, (provides, submits)))
    return machines


def _machine(
    scenario: Scenario, seed: int, index: int, kind: tuple[bool, bool]
) -> Machine:
    fleet, real = scenario.fleet, scenario.real_signatures
    provides, submits = kind
    chance = Random(f"{seed}:machine:{index}")
    name = f"provider-{index}" if provides else f"submitter-{index - fleet.providers}"
    users = fleet.users_per_submitter if submits else 1
    if not provides and not submits:
        name, users = _extra(scenario.faults, index - scenario.machines)
    signers = [signer_for(seed, f"{name}:user:{n}", real=real) for n in range(users)]
    return Machine(
        index=index,
        name=name,
        key=signer_for(seed, name, real=real),
        users={signer.did: signer for signer in signers},
        region=chance.randrange(scenario.links.regions),
        run_name=str(seed),
        cpus=fleet.cpus[index % len(fleet.cpus)] if provides else 0,
        price_micro_ntx=fleet.prices_micro_ntx[index % len(fleet.prices_micro_ntx)],
        store_bytes=fleet.store_bytes if provides else 0,
        traits=_traits(scenario.faults, chance, provides=provides),
    )


def twins(plan: Plan, machines: Sequence[Machine]) -> dict[int, Machine]:
    """Return where copies of homes will be started, by the original's number."""
    copied = [each.machine for each in plan.happenings if isinstance(each, Copied)]
    return {
        number: _twin(plan, machines[number], len(machines) + count)
        for count, number in enumerate(dict.fromkeys(copied))
    }


def _twin(plan: Plan, original: Machine, index: int) -> Machine:
    chance = Random(f"{plan.seed}:machine:{index}")
    return Machine(
        index=index,
        name=f"{original.name}-again",
        key=original.key,
        users=original.users,
        region=chance.randrange(plan.scenario.links.regions),
        run_name=original.run_name,
        cpus=original.cpus,
        price_micro_ntx=original.price_micro_ntx,
        store_bytes=original.store_bytes,
        original=original,
    )


def _extra(faults: Faults, number: int) -> tuple[str, int]:
    """Return the name and the users of a machine that comes for mischief alone."""
    if number < faults.spammers:
        return f"spammer-{number}", 1
    return f"{SYBIL}-{number - faults.spammers}", faults.sybil_users


def _traits(faults: Faults, chance: Random, *, provides: bool) -> Traits:
    def drawn(permille: int) -> bool:
        return chance.randrange(1000) < permille

    if not provides:
        return Traits(
            replays=drawn(faults.replaying_permille),
            pries=drawn(faults.prying_permille),
            trickles=drawn(faults.trickling_permille),
        )
    return Traits(
        slow_times=faults.slow_times if drawn(faults.slow_permille) else 1,
        lies=drawn(faults.lying_permille),
        withholds=drawn(faults.withholding_permille),
        mute=drawn(faults.mute_permille),
        equivocates=drawn(faults.equivocating_permille),
        overstates=drawn(faults.overstating_permille),
        unreachable=drawn(faults.unreachable_permille),
        forgets=drawn(faults.forgetting_permille),
        trickles=drawn(faults.trickling_permille),
    )
