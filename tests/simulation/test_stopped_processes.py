"""A process that is stopped and told to go on: late, perhaps given up, and not lost."""

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.simulator.plan import NS_PER_S, Placed, Plan, Stopped, make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Faults, Fleet, Scenario

STOPPED_S = 10
PROVIDER, SUBMITTER = 0, 1


class Inputs:
    """Keeps what each machine was given, and when."""

    idle_too = True

    def __init__(self):
        self.given = []

    def turned(self, now_ns, machine, given, batch):
        self.given.append((now_ns // NS_PER_S, machine.index, given))

    def booted(self, now_ns, machine):
        pass

    def of(self, machine, kind):
        return [
            (at_s, given)
            for at_s, index, given in self.given
            if index == machine and isinstance(given, kind)
        ]


def played(for_s, *, machine=PROVIDER, run_s=60, job_at_s=5, run_ms=2_000):
    """Stop a machine for so long while there is a job; return the run and its turns."""
    job = Placed(
        at_ns=job_at_s * NS_PER_S,
        submitter=0,
        user=0,
        number=0,
        cpus=1,
        run_ms=run_ms,
        exit_code=0,
        has_inputs=False,
    )
    stopped = Stopped(
        at_ns=STOPPED_S * NS_PER_S, machine=machine, for_ns=for_s * NS_PER_S
    )
    scenario = Scenario(run_s=run_s, fleet=Fleet(providers=1, submitters=1))
    seen = Inputs()
    plan = Plan(scenario=scenario, seed=1, happenings=(job, stopped))
    run = Run(plan, extra=(seen,))
    outcome = run.play()
    assert outcome.broken is None
    assert outcome.measures["states"] == {"completed": 1}
    return outcome, seen


def test_a_stopped_process_does_nothing_and_its_timers_come_late():
    _, seen = played(6)
    stopped = range(STOPPED_S + 1, STOPPED_S + 6)
    assert not [
        each for each in seen.given if each[1] == PROVIDER and each[0] in stopped
    ]
    late = [at_s for at_s, _ in seen.of(PROVIDER, ins.TimerFired) if at_s == 16]
    assert late


def test_a_short_stop_is_noticed_by_nobody():
    outcome, seen = played(6)
    assert (outcome.measures["stops"], outcome.measures["stops_noticed"]) == (1, 0)
    assert not seen.of(SUBMITTER, ins.PeerGone)


def test_a_long_stop_is_noticed_and_both_sides_hear_that_the_connection_is_gone():
    outcome, seen = played(40)
    assert outcome.measures["stops_noticed"] == 1
    ((given_up_s, _),) = seen.of(SUBMITTER, ins.PeerGone)
    ((heard_s, _),) = seen.of(PROVIDER, ins.PeerGone)
    assert STOPPED_S + 8 <= given_up_s <= STOPPED_S + 20
    assert heard_s == STOPPED_S + 40


def test_a_job_ends_while_its_provider_is_stopped_and_is_told_once_when_it_goes_on():
    _, seen = played(40, run_ms=8_000)
    ((exited_s, _),) = seen.of(PROVIDER, ins.JobExited)
    assert exited_s == STOPPED_S + 40


def test_a_job_is_placed_by_a_submitting_peer_that_is_stopped_as_soon_as_it_goes_on():
    _, seen = played(20, machine=SUBMITTER, job_at_s=12)
    ((wanted_s, _),) = seen.of(SUBMITTER, ins.OrderWanted)
    assert wanted_s == STOPPED_S + 20


def test_a_stop_that_nothing_ends_is_ended_when_the_faults_are_healed():
    outcome, seen = played(3_600, run_s=30)
    assert outcome.measures["states"] == {str(State.COMPLETED): 1}
    assert seen.of(PROVIDER, ins.PeerGone)[0][0] == 30


def test_a_process_may_be_killed_while_it_is_stopped():
    scenario = Scenario(
        run_s=120, faults=Faults(stops_per_hour=240, crashes_per_hour=240)
    )
    for seed in range(3):
        outcome = Run(make_plan(scenario, seed)).play()
        assert outcome.broken is None
        assert outcome.measures["stops"] > 20
