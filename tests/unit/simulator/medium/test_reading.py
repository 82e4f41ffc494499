"""The trusting reader reads what honest machines write as the strict one does."""

import pytest
from msgspec.structs import replace

from nunet_node.identity.statement import Statement
from nunet_node.protocol.inputs import AdvertsHeard, FrameReceived, FrameRejected
from nunet_node.simulator.medium.reading import StrictReader, TrustingReader
from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Faults, Fleet, Scenario, Work


class BothReaders:
    """Opens each frame twice, and keeps whatever was read differently."""

    def __init__(self):
        self.strict, self.trusting = StrictReader(), TrustingReader()
        self.different, self.read = [], 0

    def frame(self, session, data, now_s, audiences, own_did):
        one = self.strict.frame(session, data, now_s, audiences, own_did)
        other = self.trusting.frame(session, data, now_s, audiences, own_did)
        self.read += 1
        if comparable(one) != comparable(other):
            self.different.append((one, other))
        return one

    def advert(self, data, now_s):
        one = self.strict.advert(data, now_s)
        other = self.trusting.advert(data, now_s)
        if one != other and comparable_statement(one) != comparable_statement(other):
            self.different.append((one, other))
        return one


def comparable(given):
    if isinstance(given, FrameRejected):
        return given.frame, given.re, given.code
    assert isinstance(given, FrameReceived)
    body = given.body
    if isinstance(body, Statement):
        body = comparable_statement(body)
    elif isinstance(body, AdvertsHeard):
        body = tuple(map(comparable_statement, body.adverts))
    return given.frame, given.re, body


def comparable_statement(heard):
    # The id of a statement is a digest of other bytes here; nothing in a run uses it.
    return heard and replace(heard, domain=b"")


@pytest.mark.parametrize("skewed", [False, True])
def test_both_readers_read_every_frame_alike(skewed):
    faults = (
        Faults(clock_jumps_per_hour=120, crashes_per_hour=60) if skewed else Faults()
    )
    scenario = Scenario(
        run_s=60,
        real_signatures=True,
        fleet=Fleet(providers=3, submitters=2),
        work=Work(jobs=10, every_ms=3000, cancelled_permille=300),
        faults=faults,
    )
    run = Run(make_plan(scenario, 5))
    both = run.world.reader = BothReaders()
    run.world.wires._reader = both
    assert run.play().broken is None
    assert both.read > 100
    assert both.different == []


def test_a_run_is_the_same_with_real_signatures_but_for_their_bytes():
    quick = Scenario(fleet=Fleet(providers=3, submitters=2), work=Work(jobs=6))
    real = Scenario(fleet=quick.fleet, work=quick.work, real_signatures=True)
    one, other = (Run(make_plan(each, 2)).play() for each in (quick, real))
    assert (one.events, one.inputs, one.virtual_s) == (
        other.events,
        other.inputs,
        other.virtual_s,
    )
    assert one.measures == other.measures
