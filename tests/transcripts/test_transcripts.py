"""Whole conversations, written down: who said what to whom, and when.

Each scenario is played under virtual time and compared with its text beside this
file, so that a change of the protocol shows as a change of these texts. After a change
that is meant, run pytest with ``--rewrite-transcripts`` and read the difference.
"""

from pathlib import Path

import pytest

from nunet_node.capability.envelope import INVOCATION_TAG
from nunet_node.jobs.specification import Retry, Timeouts
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol import messages as ms
from nunet_node.protocol.requester.memory import LOST_AFTER_S
from nunet_node.wire import cbor
from nunet_node.wire.schema import decode_record
from tests.unit.protocol.world import INPUT, NS, World, place, spec

HERE = Path(__file__).parent
BYTES_MAX = 1 << 20


class Stage:
    """A world in which everything that matters is written down."""

    def __init__(self):
        self.world = World()
        self.lines = []
        self.world.watch = self.write
        self.states = {}

    def provider(self, name="provider", number=1, **more):
        return self.world.peer(number, name=name, **{"cpus": 2, **more})

    def user(self, name="user", number=2):
        user = self.world.peer(number, name=name)
        self.world.run(for_s=1)
        self.lines.clear()
        return user

    def note(self, words):
        self.lines.append(f"-- {words}")

    def write(self, peer, effect):
        words = self.words(peer, effect)
        if words:
            at = self.world.elapsed_ns / NS
            self.lines.append(f"{at:8.3f}  {peer.name:<10} {words}".rstrip())

    def words(self, peer, effect):
        match effect:
            case fx.Send():
                return self.frame(peer, effect)
            case fx.Tell():
                return self.news(peer, effect.news)
            case fx.GrantRead() | fx.GrantLogs():
                what = "result" if isinstance(effect, fx.GrantRead) else "logs"
                return f"lets {self.name(effect.peer_id)} read the {what}"
            case _:
                return ORDERS.get(type(effect))

    def frame(self, peer, effect):
        if effect.session not in peer.sessions:
            return "       says nothing: the connection is gone"
        to = peer.sessions[effect.session][0].name
        body = decode_record(ms.Frame, effect.data, bytes_max=BYTES_MAX).body
        match body:
            case ms.Stated():
                said = body.statement_kind
            case ms.ChallengeWanted():
                said = f"challenge wanted for {body.command}"
            case ms.Invoke():
                token = cbor.decode(body.invocation, bytes_max=BYTES_MAX)
                said = f"command {token[1][INVOCATION_TAG]['cmd']}"
            case ms.Refused():
                said = "refused"
            case _:
                return None
        return f"to {to}: {said}"

    def news(self, peer, news):
        match news:
            case fx.JobMovedHere():
                why = f" ({news.reason})" if news.reason else ""
                return f"keeps a job that is {news.state}, attempt {news.attempt}{why}"
            case fx.OrderChanged():
                return self.order(peer, peer.orders[news.job])
            case fx.CancelConfirmed():
                ended = news.confirmation
                again = ", as it was already" if ended.already_ended else ""
                return f"has it confirmed that the job is {ended.state}{again}"
            case fx.CommandRefused():
                return f"is refused: {news.refusal.code}"
            case fx.ProviderUnreachable():
                return f"cannot reach the custodian: {news.reason}"
            case _:
                return None

    def order(self, peer, order):
        state = (order.state, order.attempt, order.reason)
        if self.states.get((peer, order.job)) == state:
            return None
        self.states[peer, order.job] = state
        why = f" ({order.reason})" if order.reason else ""
        return f"has an order that is {order.state}, attempt {order.attempt}{why}"

    def name(self, peer_id):
        return next(p.name for p in self.world.peers if p.peer_id == peer_id)


ORDERS = {
    fx.OpenSession: "dials",
    fx.StartJob: "starts the job",
    fx.StopJob: "stops the job",
    fx.StoreResult: "stores the result",
    fx.ExpectInputs: "expects the inputs",
    fx.DeliverInputs: "hands over the inputs",
}


def submit():
    stage = Stage()
    provider = stage.provider()
    stage.provider("dear", number=3, price=5)
    user = stage.user()
    job = place(user, spec(inputs=INPUT))
    provider.finish()
    provider.store()
    stage.note("the owner reads the result")
    user.give(ins.ReadWanted(job=job))
    stage.world.run()
    return stage


def queue():
    stage = Stage()
    provider = stage.provider()
    user = stage.user()
    place(user, spec(cpus=2, timeouts=Timeouts(run_s=60)), b"1" * 16)
    stage.note("no room for the second job")
    place(user, spec(timeouts=Timeouts(run_s=60)), b"2" * 16)
    stage.world.run(for_s=5)
    stage.note("the first job ends")
    provider.finish()
    provider.store()
    return stage


def no_room_ever():
    stage = Stage()
    stage.provider()
    user = stage.user()
    place(user, spec(cpus=3))
    return stage


def cancelled(state):
    stage = Stage()
    provider = stage.provider()
    user = stage.user()
    if state == "queued":
        place(user, spec(cpus=2), b"1" * 16)
        stage.lines.clear()
    if state == "allocated":
        stage.world._deliver = lambda *_: None
    stage.world.starts_at_once = state != "starting"
    job = place(user, spec(inputs=INPUT if state == "allocated" else None))
    if state in {"storing", "ended"}:
        provider.finish()
    if state == "ended":
        provider.store()
    stage.note(f"the owner cancels while it is {provider.jobs[job].state}")
    user.give(ins.CancelWanted(job=job))
    stage.world.run()
    return stage


def stranger():
    stage = Stage()
    provider = stage.provider()
    user = stage.user()
    job = place(user, spec())
    other = stage.world.peer(9, name="stranger")
    stage.world.run(for_s=1)
    stage.lines.clear()
    for wish in (ins.ReportWanted, ins.ReadWanted, ins.CancelWanted):
        named = ins.CustodianNamed(
            job=job, provider=provider.did, peer_id=provider.peer_id, addresses=()
        )
        other.give(named)
        other.give(wish(job=job))
        stage.world.run()
    return stage


def provider_lost():
    stage = Stage()
    provider = stage.provider()
    stage.provider("dear", number=3, price=5)
    user = stage.user()
    place(user, spec(retry=Retry(attempts=2)))
    stage.note("the provider vanishes")
    provider.kill()
    stage.world.run(for_s=LOST_AFTER_S + 20)
    return stage


def provider_restarts():
    stage = Stage()
    provider = stage.provider()
    user = stage.user()
    place(user, spec(), b"1" * 16)
    place(user, spec(cpus=2), b"2" * 16)
    stage.note("the provider dies, and comes up again")
    provider.kill()
    provider.restart()
    stage.world.run(for_s=3)
    return stage


SCENARIOS = {
    "submit": submit,
    "queue": queue,
    "no-room-ever": no_room_ever,
    "cancel-while-queued": lambda: cancelled("queued"),
    "cancel-while-allocated": lambda: cancelled("allocated"),
    "cancel-while-starting": lambda: cancelled("starting"),
    "cancel-while-running": lambda: cancelled("running"),
    "cancel-while-storing": lambda: cancelled("storing"),
    "cancel-after-the-end": lambda: cancelled("ended"),
    "stranger": stranger,
    "provider-lost": provider_lost,
    "provider-restarts": provider_restarts,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_conversation_goes_as_written_down(name, request):
    played = "\n".join(SCENARIOS[name]().lines) + "\n"
    written = HERE / f"{name}.txt"
    if request.config.getoption("--rewrite-transcripts"):
        written.write_text(played)
    assert played == written.read_text()


def test_every_text_has_its_scenario():
    assert {path.stem for path in HERE.glob("*.txt")} == set(SCENARIOS)
