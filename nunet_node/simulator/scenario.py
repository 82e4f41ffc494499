"""What is simulated: machines, links, work and faults, as a TOML file says it.

Rule: a scenario and a seed are the whole input of a run; nothing else may change what
happens. All amounts are integers with their units in their names; chances are in
thousandths.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from nunet_node.errors import PeerError
from nunet_node.quantities import Count

Permille = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=30 * 86400)]
MACHINES_MAX = 100_000
"""Machines of one run: ten times the largest size that a scenario here asks for."""

JOBS_MAX = 1_000_000
"""Jobs of one run: an hour of three hundred a second."""

SEEDS_MAX = 100_000
"""Seeds of one sweep: a week of the quickest scenario."""

PerHour = Annotated[int, msgspec.Meta(ge=0, le=3600)]
"""How often something happens in an hour; once a second is as good as always."""
Numbers = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=1)], ...],
    msgspec.Meta(min_length=1, max_length=64),
]
Prices = Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=64)]
Jobs = Annotated[int, msgspec.Meta(ge=0, le=JOBS_MAX)]


class ScenarioError(PeerError):
    """A scenario's file cannot be read, or says what cannot be."""

    code = "spec.file"


class _Part(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A table of a scenario."""


class Fleet(_Part, frozen=True):
    """The machines."""

    providers: Annotated[int, msgspec.Meta(ge=1, le=MACHINES_MAX)] = 8
    submitters: Annotated[int, msgspec.Meta(ge=1, le=MACHINES_MAX)] = 4
    users_per_submitter: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Identities behind one submitting peer: more than one is a Sybil."""
    cpus: Numbers = (4,)
    """Processors of the providers, in turn."""
    prices_micro_ntx: Prices = (0,)
    """Prices of the providers, in turn."""
    store_bytes: Count = 0
    """Room of each provider for copies of others' results."""
    degree: Annotated[int, msgspec.Meta(ge=1, le=64)] = 12
    """Connections that each machine opens to others at random, both ways counted."""


class Links(_Part, frozen=True):
    """What lies between the machines."""

    regions: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    near_us: Count = 2_000
    """Least delay one way within a region."""
    far_us: Count = 40_000
    """Least delay one way for each region that is between."""
    jitter_us: Count = 4_000
    """Mean of what comes on top, exponentially distributed."""
    frame_us: Count = 0
    """What handling takes for each frame, at both ends together; see
    `docs/calibration.md`."""
    gossip_us: Count = 0
    """What handling takes for each advert that a machine hears."""
    connect_us: Count = 0
    """What a new connection takes to be agreed on, at both ends together."""
    start_us: Count = 0
    """What it takes to start a job, and to keep its result, each."""
    cores: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    """Processors that all machines share, as processes on one computer do, so that
    handling has to wait; each machine has enough of its own if it is 0."""
    bandwidth_bytes_per_s: Annotated[int, msgspec.Meta(ge=1)] = 12_500_000
    gossip: str = "overlay"
    """``overlay`` simulates every transmission, ``oracle`` computes arrival times."""


class Work(_Part, frozen=True):
    """The jobs, and when they come."""

    jobs: Jobs = 20
    every_ms: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    """Mean time between jobs; the times are random, as if nobody knew of others."""
    burst_jobs: Jobs = 0
    """Jobs that come besides, all in one second."""
    burst_at_s: Seconds = 30
    cpus: Numbers = (1,)
    run_ms: Annotated[int, msgspec.Meta(ge=1)] = 5_000
    """Mean time that a job runs, exponentially distributed, at most tenfold."""
    run_s_max: Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)] = 60
    queue_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)] = 600
    attempts: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    fails_permille: Permille = 20
    cancelled_permille: Permille = 50
    inputs_permille: Permille = 200
    inputs_bytes: Count = 1 << 20
    result_bytes: Count = 1 << 20
    price_micro_ntx_max: Count | None = None
    replicas: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    """Copies of each result; needs `real_signatures`, by which owners allow them."""
    retention_s: Annotated[int, msgspec.Meta(ge=1)] = 30 * 86400
    greedy_permille: Permille = 0
    """Share of the jobs that come from the first submitter."""


class Faults(_Part, frozen=True):
    """Everything that goes wrong, and who lies."""

    loss_permille: Permille = 0
    """Frames that have to be sent again, and gossip that is not."""
    duplicate_permille: Permille = 0
    """Gossip that arrives twice."""
    delay_permille: Permille = 0
    """Frames that are held up by up to `delay_ms_max`."""
    delay_ms_max: Count = 5_000
    crashes_per_hour: PerHour = 0
    """Of each machine, at any step: before or after its facts are on disk, or between
    two effects. It returns with its journal."""
    down_s_max: Seconds = 60
    vanish_permille: Permille = 0
    """Providers that go for good, all at `vanish_at_s`."""
    vanish_at_s: Seconds = 60
    partitions_per_hour: PerHour = 0
    """Of kinds in turn: halves, one way, and halves with a bridge."""
    partition_s_max: Seconds = 60
    clock_jumps_per_hour: PerHour = 0
    """Of each machine's wall clock."""
    clock_jump_s_max: Seconds = 3_600
    disk_full_per_hour: PerHour = 0
    """Of each machine; nothing can be written then."""
    disk_full_s_max: Seconds = 60
    stops_per_hour: PerHour = 0
    """Of each machine: its process is stopped by a signal, and told to go on later."""
    stop_s_max: Seconds = 60
    engine_lost_per_hour: PerHour = 0
    """Of each provider: its engine stops being ready."""
    slow_permille: Permille = 0
    slow_times: Annotated[int, msgspec.Meta(ge=1)] = 10
    lying_permille: Permille = 0
    """Providers that return another result than the job's."""
    withholding_permille: Permille = 0
    """Providers that never serve a result."""
    mute_permille: Permille = 0
    """Providers that take jobs and say nothing after that."""
    equivocating_permille: Permille = 0
    """Providers that bid twice, at two prices."""
    overstating_permille: Permille = 0
    """Providers that offer four times what they have; jobs fail there."""
    replaying_permille: Permille = 0
    """Submitting peers that send every command twice."""
    prying_permille: Permille = 0
    """Submitting peers that ask to read, and to cancel, the jobs of others."""
    unreachable_permille: Permille = 0
    """Providers behind a NAT: nobody can dial them."""
    forgetting_permille: Permille = 0
    """Providers that take copies and keep no block of them."""
    copied_permille: Permille = 0
    """Machines whose home, keys and all, is copied at `copied_at_s` and started a
    second time elsewhere, so that two nodes have one key. Needs the overlay."""
    copied_at_s: Seconds = 60
    trickling_permille: Permille = 0
    """Machines that read `trickle_bytes_per_s` of each session, and no more."""
    trickle_bytes_per_s: Annotated[int, msgspec.Meta(ge=1)] = 100
    spammers: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Machines that publish `spam_per_s` adverts each."""
    spam_per_s: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    sybils: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Submitting peers of one person, besides the others."""
    sybil_users: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    """Identities of that person behind each of these peers."""
    sybil_jobs_per_minute: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 60
    """Jobs of that person, under all its names together."""


class Scenario(_Part, frozen=True):
    """A question, and the run that answers it."""

    name: str = "unnamed"
    question: str = ""
    seed: Count = 1
    run_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)] = 120
    """Virtual time in which faults happen; after it they are healed."""
    settle_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)] = 7_200
    """Longest time in which everything must have ended once the faults are over."""
    real_signatures: bool = False
    compare: bool = False
    """Plays the same without Sybils and slow readers as well, and measures how long
    all others wait."""
    sizes: tuple[Annotated[int, msgspec.Meta(ge=2, le=MACHINES_MAX)], ...] = ()
    """Machines in all, for each run of a sweep; the kinds keep their proportions."""
    seeds: Annotated[int, msgspec.Meta(ge=1, le=SEEDS_MAX)] = 1
    """Seeds of a sweep, from `seed` on."""
    fleet: Fleet = Fleet()
    links: Links = Links()
    work: Work = Work()
    faults: Faults = Faults()

    @property
    def machines(self) -> int:
        """Return how many machines there are, spammers left out."""
        return self.fleet.providers + self.fleet.submitters

    def sized(self, machines: int) -> "Scenario":
        """Return the same with so many machines, in the same proportions."""
        providers = max(1, machines * self.fleet.providers // self.machines)
        fleet = msgspec.structs.replace(
            self.fleet,
            providers=providers,
            submitters=max(1, machines - providers),
        )
        return msgspec.structs.replace(self, fleet=fleet)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a TOML file; its name is the file's unless it says one.

    Raises:
        ScenarioError: it cannot be read, or a value is wrong.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        return parse_scenario({"name": path.stem, **plain})
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ScenarioError) as error:
        raise ScenarioError(f"{path}: {error}") from None


def parse_scenario(plain: dict[str, Any]) -> Scenario:
    """Read a scenario from plain values.

    Raises:
        ScenarioError: a field is unknown, missing or out of range.
    """
    try:
        scenario: Scenario = msgspec.convert(plain, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"not a scenario: {error}") from None
    if scenario.links.gossip not in {"overlay", "oracle"}:
        raise ScenarioError("links.gossip is 'overlay' or 'oracle'")
    if scenario.faults.copied_permille and scenario.links.gossip != "overlay":
        # The oracle has one place for each key.
        raise ScenarioError("faults.copied_permille needs links.gossip 'overlay'")
    if scenario.work.replicas and not scenario.real_signatures:
        raise ScenarioError("work.replicas needs real_signatures = true")
    if scenario.machines > MACHINES_MAX:
        raise ScenarioError(f"{scenario.machines} machines, limit {MACHINES_MAX}")
    return scenario
