"""What will happen to a run from outside, drawn from its seed before it begins.

Rule: a plan is data. The same scenario and seed give the same plan; a plan with
happenings left out is a plan too, which is how a failure is made small.
"""

from random import Random
from typing import Final

import msgspec

from nunet_node.simulator.scenario import (
    Faults,
    Scenario,
    ScenarioError,
    Work,
    parse_scenario,
)

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
HOUR_NS: Final = 3_600 * NS_PER_S

RUN_TIMES_MAX: Final = 10
"""Longest job, in mean running times: an exponential draw has no bound."""

WARM_UP_NS: Final = 3 * NS_PER_S
"""When the first job may come: the machines have heard of each other by then."""

HAPPENINGS_MAX: Final = 2_000_000
"""Happenings of one run: an hour of five hundred a second, in about 400 MB."""


class Happening(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """Something that the run does not decide itself."""

    at_ns: int


class Placed(Happening, frozen=True, kw_only=True, tag="placed"):
    """A user submits a job."""

    submitter: int
    user: int
    number: int
    cpus: int
    run_ms: int
    exit_code: int
    has_inputs: bool


class Cancelled(Happening, frozen=True, kw_only=True, tag="cancelled"):
    """A user cancels the job of this number."""

    submitter: int
    number: int


class Crashed(Happening, frozen=True, kw_only=True, tag="crashed"):
    """A machine dies in the midst of its next durable turn, and returns."""

    machine: int
    down_ns: int
    step: int
    """How many of the turn's steps are done: 0 is before its facts are on disk."""
    silent: bool
    """The whole host goes dark: its connections end without a word."""


class Vanished(Happening, frozen=True, kw_only=True, tag="vanished"):
    """A machine goes for good, without a word."""

    machine: int


class Parted(Happening, frozen=True, kw_only=True, tag="parted"):
    """The network falls apart in two for a while."""

    for_ns: int
    kind: str
    """``halves``, ``one-way`` or ``bridge``: one machine still reaches both."""
    salt: int


class ClockJumped(Happening, frozen=True, kw_only=True, tag="clock-jumped"):
    """A machine's wall clock is set wrong by so much in all, for a while."""

    machine: int
    by_s: int
    for_ns: int


class DiskFilled(Happening, frozen=True, kw_only=True, tag="disk-filled"):
    """Nothing can be written on a machine for a while."""

    machine: int
    for_ns: int


class Stopped(Happening, frozen=True, kw_only=True, tag="stopped"):
    """A machine's process is stopped for a while: clocks go on, and it does not."""

    machine: int
    for_ns: int


class Copied(Happening, frozen=True, kw_only=True, tag="copied"):
    """A machine's home is copied, and started elsewhere as well: one key, two nodes."""

    machine: int


class EngineLost(Happening, frozen=True, kw_only=True, tag="engine-lost"):
    """A provider's engine is not ready for a while."""

    machine: int
    for_ns: int


Anything = (
    Placed
    | Cancelled
    | Crashed
    | Vanished
    | Parted
    | ClockJumped
    | DiskFilled
    | Stopped
    | Copied
    | EngineLost
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run, complete: what it is made of and everything that will happen to it."""

    scenario: Scenario
    seed: int
    happenings: tuple[Anything, ...]
    boots_ns: tuple[int, ...] = ()
    """When each machine boots; all within the first second unless it is said."""


def read_plan(data: bytes) -> Plan:
    """Read a plan that was kept as JSON.

    Raises:
        ScenarioError: it is none, or names a machine that is not in it.
    """
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except msgspec.DecodeError as error:
        raise ScenarioError(f"not a plan: {error}") from None
    scenario = parse_scenario(msgspec.to_builtins(plan.scenario))
    for each in plan.happenings:
        if not _names_who_is_there(scenario, each):
            raise ScenarioError(f"not a plan: nobody is there: {each}"[:200])
    return plan


def _names_who_is_there(scenario: Scenario, happening: Anything) -> bool:
    fleet, faults = scenario.fleet, scenario.faults
    submitter, user = getattr(happening, "submitter", 0), getattr(happening, "user", 0)
    users = [fleet.users_per_submitter] * fleet.submitters
    users += [1] * faults.spammers + [faults.sybil_users] * faults.sybils
    machine = getattr(happening, "machine", 0)
    there = 0 <= submitter < len(users) and 0 <= user < users[submitter]
    return there and 0 <= machine < scenario.machines


def make_plan(scenario: Scenario, seed: int) -> Plan:
    """Draw everything that will happen, in order of time."""
    found: list[Anything] = [*_jobs(scenario, seed), *_faults(scenario, seed)]
    found += _sybil_jobs(scenario, Random(f"{seed}:sybils"))
    found.sort(key=lambda happening: happening.at_ns)
    return Plan(scenario=scenario, seed=seed, happenings=tuple(found[:HAPPENINGS_MAX]))


def _jobs(scenario: Scenario, seed: int) -> list[Anything]:
    work, chance = scenario.work, Random(f"{seed}:work")
    at_ns, found = WARM_UP_NS, list[Anything]()
    for number in range(work.jobs + work.burst_jobs):
        if number < work.jobs:
            at_ns += int(chance.expovariate(1) * work.every_ms * NS_PER_MS)
            moment_ns = at_ns
        else:
            moment_ns = work.burst_at_s * NS_PER_S + chance.randrange(NS_PER_S)
        placed = _job(scenario, chance, number, moment_ns)
        found.append(placed)
        if chance.randrange(1000) < work.cancelled_permille:
            after_ns = int(chance.expovariate(1) * work.run_ms * NS_PER_MS)
            found.append(
                Cancelled(
                    at_ns=moment_ns + after_ns,
                    submitter=placed.submitter,
                    number=number,
                )
            )
    return found


def _sybil_jobs(scenario: Scenario, chance: Random) -> list[Anything]:
    """Let one person ask for as much as it likes, under all its names."""
    work, fleet, faults = scenario.work, scenario.fleet, scenario.faults
    per_hour = 60 * faults.sybil_jobs_per_minute if faults.sybils else 0
    return [
        Placed(
            at_ns=at_ns,
            submitter=fleet.submitters + faults.spammers + number % faults.sybils,
            user=number // faults.sybils % faults.sybil_users,
            number=work.jobs + work.burst_jobs + number,
            cpus=chance.choice(work.cpus),
            run_ms=_run_ms(work, chance),
            exit_code=0,
            has_inputs=False,
        )
        for number, at_ns in enumerate(_moments(chance, per_hour, scenario.run_s))
    ]


def _run_ms(work: Work, chance: Random) -> int:
    return max(1, int(min(RUN_TIMES_MAX, chance.expovariate(1)) * work.run_ms))


def _job(scenario: Scenario, chance: Random, number: int, at_ns: int) -> Placed:
    work, fleet = scenario.work, scenario.fleet
    greedy = chance.randrange(1000) < work.greedy_permille
    run_ms = _run_ms(work, chance)
    return Placed(
        at_ns=at_ns,
        submitter=0 if greedy else chance.randrange(fleet.submitters),
        user=chance.randrange(fleet.users_per_submitter),
        number=number,
        cpus=chance.choice(work.cpus),
        run_ms=run_ms,
        exit_code=int(chance.randrange(1000) < work.fails_permille),
        has_inputs=chance.randrange(1000) < work.inputs_permille,
    )


def _faults(scenario: Scenario, seed: int) -> list[Anything]:
    found = list[Anything]()
    chance = Random(f"{seed}:faults")
    for machine in range(scenario.machines):
        found += _machine_faults(scenario, chance, machine)
    faults, kinds = scenario.faults, ("halves", "one-way", "bridge")
    for count, at_ns in enumerate(
        _moments(chance, faults.partitions_per_hour, scenario.run_s)
    ):
        found.append(
            Parted(
                at_ns=at_ns,
                for_ns=_span(chance, faults.partition_s_max),
                kind=kinds[count % len(kinds)],
                salt=chance.randrange(1 << 30),
            )
        )
    found += _stops(scenario, Random(f"{seed}:stops"))
    return found + _copies(scenario, Random(f"{seed}:copies"))


def _stops(scenario: Scenario, chance: Random) -> list[Anything]:
    faults = scenario.faults
    return [
        Stopped(at_ns=at_ns, machine=machine, for_ns=_span(chance, faults.stop_s_max))
        for machine in range(scenario.machines)
        for at_ns in _moments(chance, faults.stops_per_hour, scenario.run_s)
    ]


def _copies(scenario: Scenario, chance: Random) -> list[Anything]:
    faults = scenario.faults
    return [
        Copied(at_ns=faults.copied_at_s * NS_PER_S, machine=machine)
        for machine in range(scenario.machines)
        if chance.randrange(1000) < faults.copied_permille
    ]


def _machine_faults(scenario: Scenario, chance: Random, machine: int) -> list[Anything]:
    faults, run_s = scenario.faults, scenario.run_s
    found: list[Anything] = [
        Crashed(
            at_ns=at_ns,
            machine=machine,
            down_ns=_span(chance, faults.down_s_max),
            step=chance.randrange(4),
            silent=chance.random() < 0.5,  # noqa: PLR2004 - either is as likely
        )
        for at_ns in _moments(chance, faults.crashes_per_hour, run_s)
    ]
    for at_ns in _moments(chance, faults.clock_jumps_per_hour, run_s):
        by_s = chance.randint(-faults.clock_jump_s_max, faults.clock_jump_s_max)
        for_ns = _span(chance, 120)
        found.append(
            ClockJumped(at_ns=at_ns, machine=machine, by_s=by_s, for_ns=for_ns)
        )
    for at_ns in _moments(chance, faults.disk_full_per_hour, run_s):
        for_ns = _span(chance, faults.disk_full_s_max)
        found.append(DiskFilled(at_ns=at_ns, machine=machine, for_ns=for_ns))
    if machine < scenario.fleet.providers:
        found += _provider_faults(faults, chance, machine, run_s)
    return found


def _provider_faults(
    faults: Faults, chance: Random, machine: int, run_s: int
) -> list[Anything]:
    found: list[Anything] = [
        EngineLost(at_ns=at_ns, machine=machine, for_ns=_span(chance, 60))
        for at_ns in _moments(chance, faults.engine_lost_per_hour, run_s)
    ]
    if chance.randrange(1000) < faults.vanish_permille:
        found.append(Vanished(at_ns=faults.vanish_at_s * NS_PER_S, machine=machine))
    return found


def _moments(chance: Random, per_hour: int, run_s: int) -> list[int]:
    found, at_ns = list[int](), WARM_UP_NS
    while per_hour:
        at_ns += int(chance.expovariate(1) * HOUR_NS / per_hour)
        if at_ns >= run_s * NS_PER_S:
            break
        found.append(at_ns)
    return found


def _span(chance: Random, most_s: int) -> int:
    return chance.randrange(1, max(2, most_s * NS_PER_S))
