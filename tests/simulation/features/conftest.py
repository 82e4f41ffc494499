"""The features' steps once more, against production nodes under virtual time.

What a feature says of a command is said here of the input that the command hands to
the node, and of the news that it prints. Every scenario runs in fair weather, and with
frames that are lost, held up and repeated. The few scenarios about files run the
command line itself, which refuses them before it looks for a network.
"""

from dataclasses import dataclass, field

import pytest
from pytest_bdd import given, parsers, then, when

from nunet_node.cli.main import run as run_command
from nunet_node.cli.progress import exit_code_of
from nunet_node.identity.statement import open_statement
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.link import format_link, parse_link
from nunet_node.jobs.specification import Engine, JobSpec, Timeouts, job_id_of
from nunet_node.jobs.statements import CONFIRMATION, RECEIPT, Confirmation, Receipt
from nunet_node.protocol import effects as fx
from nunet_node.protocol import facts as ft
from nunet_node.protocol import inputs as ins
from nunet_node.quantities import ResourceVector, parse_size_bytes
from nunet_node.simulator.plan import NS_PER_S, Plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Faults, Fleet, Scenario
from nunet_node.simulator.world.execution import honest_result, job_words
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

MIB = 1 << 20
LONG_MS = 3_000_000
STORM = Faults(
    loss_permille=100, duplicate_permille=200, delay_permille=100, delay_ms_max=400
)


@pytest.fixture(autouse=True, params=["fair", "storm"])
def weather(request):
    return STORM if request.param == "storm" else Faults()


@dataclass
class Net:
    """One simulated network, and what its users were told."""

    faults: Faults
    providers: int = 1
    run: Run = field(init=False)
    told: list = field(default_factory=list)
    salts: int = 0
    code: int | None = None
    said: str = ""
    job: str = ""
    held: str = ""
    queued: str = ""
    capsys: object = None
    where: object = None

    def __post_init__(self):
        fleet = Fleet(providers=2, submitters=3, cpus=(8,))
        scenario = Scenario(
            run_s=100_000, fleet=fleet, faults=self.faults, real_signatures=True
        )
        self.run = Run(Plan(scenario=scenario, seed=1, happenings=()))
        self.world = self.run.world
        self.provider, self.dear, self.user, self.stranger, self.other = (
            self.world.machines
        )
        self.other.users = self.user.users
        self.other.audiences = frozenset((self.other.did, *self.user.users))
        people = self.world.told

        def tell(machine, news):
            self.told.append((machine, news))
            people(machine, news)

        self.world.told = tell
        self.dear.gone = True

    def begin(self, total=None):
        for machine in self.world.machines:
            if not machine.gone:
                self.world.agenda.at(0, self.world.boot, machine)
        self.pass_s(1)
        if total is not None:
            self.world.give(
                self.provider,
                ins.CapacityProbed(total=total, engines=self.provider.probed().engines),
            )
        self.pass_s(5)

    def pass_s(self, seconds):
        agenda = self.world.agenda
        agenda.run(agenda.now_ns + seconds * NS_PER_S)

    def until(self, true, within_s=120):
        for _ in range(within_s):
            if true():
                return
            self.pass_s(1)
        pytest.fail(f"not within {within_s} s")

    @property
    def owner(self):
        return next(iter(self.user.users))

    def order(self, job=""):
        return self.user.node.orders[job or self.job]

    def place(self, *, run_ms=500, total=None, queue_s=3600, price=None):
        spec = JobSpec(
            name="count",
            engine=Engine.PROCESS,
            command=job_words(run_ms, 0),
            resources=total
            or ResourceVector(
                cpu_millis=1000, memory_bytes=64 * MIB, disk_bytes=64 * MIB
            ),
            timeouts=Timeouts(run_s=3600, queue_s=queue_s),
            price_micro_ntx_max=price,
        )
        self.salts += 1
        salt = self.salts.to_bytes(16, "big")
        job = job_id_of(self.owner, Cid.of_dag_cbor(encode_record(spec)), salt)
        self.world.give(self.user, ins.OrderWanted(job=job, spec=spec, salt=salt))
        return job

    def wait(self, job):
        self.until(lambda: self.order(job).ended)
        self.code, self.said = exit_code_of(self.order(job)), self.order(job).reason

    def ask(self, machine, given):
        """Hand a command's input to a node; return the news that answers it."""
        before = len(self.told)
        self.world.give(machine, given)
        answers = fx.CommandRefused | fx.ReadGranted | fx.CancelConfirmed
        answers |= fx.ReportReceived | fx.LogsGranted
        self.until(lambda: self._answers(machine, before, answers))
        found = self._answers(machine, before, answers)[0]
        if isinstance(found, fx.CommandRefused):
            self.code = 3 if found.refusal.code == "job.unknown" else 1
            self.said = found.refusal.reason
        else:
            self.code = 0
        return found

    def _answers(self, machine, before, kinds):
        new = self.told[before:]
        return [n for m, n in new if m is machine and isinstance(n, kinds)]

    def told_order(self, *kinds):
        return [n for m, n in self.told if m is self.user and isinstance(n, kinds)]

    def end(self, job):
        """Let a job that runs until it is told end now, and well."""
        order = self.provider.running.pop(job)
        exited = ins.JobExited(job=job, attempt=order.attempt, exit_code=0)
        self.world.give(self.provider, exited)

    def advert(self):
        now_s = self.world.now(self.user).unix_s
        return self.user.node.adverts.of_provider(self.provider.did, now_s).payload

    def link(self):
        return format_link(self.job, self.owner, self.provider.did, ())

    def name_custodian(self, machine, link="", job=""):
        owner = parse_link(link).owner if link else None
        named = ins.CustodianNamed(
            job=job or self.job,
            provider=self.provider.did,
            peer_id=self.provider.peer_id,
            addresses=(),
            owner=owner,
        )
        self.world.give(machine, named)

    def command(self, words, tmp_path):
        self.code = run_command(["--home", str(tmp_path / "home"), *words])
        self.said = self.capsys.readouterr().err


@given("a provider", target_fixture="net")
def _(weather, capsys):
    net = Net(weather, capsys=capsys)
    net.begin()
    return net


@given("a provider with room for one job", target_fixture="net")
def _(weather, capsys):
    net = Net(weather, capsys=capsys)
    room = ResourceVector(cpu_millis=1000, memory_bytes=512 * MIB, disk_bytes=512 * MIB)
    net.begin(room)
    return net


@given(parsers.parse("a provider that asks {price:d} NTX"))
def _(net, price):
    net.dear.gone, net.dear.price_micro_ntx = False, price * 10**6
    net.world.kill(net.provider, silent=False)
    net.provider.gone = True
    net.world.boot(net.dear)
    net.pass_s(30)


@given("a user")
def _(net):
    assert net.user.up


@given("a completed job")
def _(net):
    net.job = net.place()
    net.wait(net.job)
    assert net.order().state is State.COMPLETED


@given("a running job")
def _(net):
    net.job = net.held = net.place(run_ms=LONG_MS)
    net.until(lambda: net.order().state is State.RUNNING)


@given("a queued job")
def _(net):
    net.queued = net.place(run_ms=LONG_MS)
    net.until(lambda: net.order(net.queued).in_custody)
    assert net.order(net.queued).state is State.QUEUED


@given(parsers.parse('a job file that says "{text}"'))
def _(net, tmp_path, text):
    (tmp_path / "count.py").write_text("print(1)")
    path = tmp_path / "job.yaml"
    path.write_text(f"version: 1\nscript: count.py\n{text}\n")


@when("the user submits the job file")
def _(net, tmp_path):
    net.command(["submit", str(tmp_path / "job.yaml")], tmp_path)


@when(parsers.parse('the user submits a job as the identity "{name}"'))
def _(net, tmp_path, name):
    script = tmp_path / "count.py"
    script.write_text("print(1)")
    net.command(["submit", "--identity", name, str(script)], tmp_path)


@when(parsers.parse('the user submits a job with the input "{name}"'))
def _(net, tmp_path, name):
    script = tmp_path / "count.py"
    script.write_text("print(1)")
    net.command(["submit", "--input", name, str(script)], tmp_path)


@when("the user submits a job and waits")
def _(net):
    net.job = net.place()
    net.wait(net.job)


@when("the user submits a job and leaves")
def _(net):
    net.job = net.place()
    net.until(lambda: net.order().in_custody)
    net.world.kill(net.user, silent=False)


@when("the provider has completed the job")
def _(net):
    net.until(lambda: net.provider.node.jobs[net.job].state is State.COMPLETED)
    net.world.boot(net.user)
    net.world.returned(net.user)
    net.until(lambda: net.order().ended)


@when("the user starts a job that runs until it is told to end")
def _(net):
    net.job = net.held = net.place(run_ms=LONG_MS)
    net.until(lambda: net.order().state is State.RUNNING)


@when("the job is told to end")
def _(net):
    net.end(net.held)
    net.until(lambda: net.provider.node.jobs[net.held].ended)


@when(parsers.parse("the user submits a job that wants {amount} {dimension}"))
def _(net, amount, dimension):
    given = {"cpu_millis": 1000, "memory_bytes": MIB, "disk_bytes": MIB}
    if dimension == "cpus":
        given["cpu_millis"] = int(amount) * 1000
    else:
        given[f"{dimension}_bytes"] = parse_size_bytes(amount)
    net.job = net.place(total=ResourceVector(**given))
    net.wait(net.job)


@when(parsers.parse("the user submits a job for at most {price:d} NTX"))
def _(net, price):
    net.job = net.place(price=price * 10**6)
    net.wait(net.job)


@when("the user submits another job and leaves")
def _(net):
    net.queued = net.place(run_ms=LONG_MS)
    net.until(lambda: net.order(net.queued).in_custody)


@when("the user submits another job that may wait 1 second")
def _(net):
    net.job = net.place(queue_s=1)
    net.wait(net.job)


@when("the user cancels the job")
def _(net):
    cancel(net, net.job)


@when("the user cancels the queued job")
def _(net):
    cancel(net, net.queued)


def cancel(net, job):
    net.world.give(net.user, ins.CancelWanted(job=job))
    net.until(lambda: net.order(job).confirmation is not None)
    net.code = 0


@when(parsers.parse("a stranger asks to {command} the job by its {reference}"))
def _(net, command, reference):
    net.name_custodian(net.stranger, net.link() if reference == "link" else "")
    net.refusal = net.ask(net.stranger, WISHES[command](job=net.job)).refusal
    net.wish = WISHES[command]


WISHES = {
    "cancel": ins.CancelWanted,
    "get": ins.ReadWanted,
    "status": ins.ReportWanted,
    "logs": ins.LogsWanted,
}


@when("the user gets the result")
def _(net):
    if not net.order().ended:
        net.ask(net.user, ins.ReadWanted(job=net.job))
        return
    net.until(lambda: net.job in net.run.people.fetched)
    net.told.clear()
    net.granted, net.code = net.ask(net.user, ins.ReadWanted(job=net.job)), 0


@when("the user gets the result by the link from another machine")
def _(net):
    net.name_custodian(net.other, net.order().link)
    net.granted = net.ask(net.other, ins.ReadWanted(job=net.job))


@then(parsers.parse("the command fails with exit code {code:d}"))
def _(net, code):
    assert net.code == code, net.said


@then("the command succeeds")
def _(net):
    assert net.code == 0


@then(parsers.parse('it names "{text}"'))
def _(net, text):
    assert text in net.said


@then("the provider has no job of the user")
def _(net):
    assert not net.provider.node.jobs


@then("the provider challenged the DID before it accepted")
def _(net):
    kinds = [type(n) for n in net.told_order(fx.Challenged, fx.OrderAccepted)]
    assert kinds.index(fx.Challenged) < kinds.index(fx.OrderAccepted)


@then("the provider shows less room")
def _(net):
    net.until(lambda: net.advert().free.cpu_millis < net.advert().total.cpu_millis)


@then("the provider shows all its room")
def _(net):
    net.until(lambda: net.advert().free == net.advert().total)


@then("the provider's job belongs to the user's DID")
def _(net):
    assert net.provider.node.jobs[net.job].owner == net.owner


@then("the job's document names the user and the provider")
def _(net):
    assert net.order().owner == net.owner
    assert net.order().award.provider == net.provider.did


@then("the job's history runs from allocated to completed")
def _(net):
    states = [str(m.state) for m in net.order().history if m.state != "queued"]
    assert states == ["allocated", "starting", "running", "storing", "completed"]


@then(parsers.parse('the user was told of "{a}", "{b}" and "{c}" in this order'))
def _(net, a, b, c):
    news = net.told_order(fx.OrderChanged)
    states = [str(n.notice.state) for n in news if n.job == net.job and n.notice]
    assert states.index(a) < states.index(b) < states.index(c)
    assert len(states) == len(set(states))


@then("the stranger is told what everybody is told about no job at all")
def _(net):
    absent = ("a" * 32) if net.job[0] != "a" else ("b" * 32)
    net.name_custodian(net.stranger, job=absent)
    assert net.ask(net.stranger, net.wish(job=absent)).refusal == net.refusal


@then("nothing of the result is in the stranger's home or directory")
def _(net):
    granted = {peer for peer, _ in net.provider.grants}
    assert net.stranger.peer_id not in granted
    assert not any(
        isinstance(n, fx.ReadGranted) for m, n in net.told if m is net.stranger
    )


@then("the job is still running")
def _(net):
    assert net.provider.node.jobs[net.held].state is State.RUNNING
    assert net.held in net.provider.running


@then(parsers.parse('the job is "{state}"'))
def _(net, state):
    assert net.order().state == state


@then(parsers.parse('the queued job is "{state}"'))
def _(net, state):
    net.until(lambda: net.order(net.queued).state == state)


@then(parsers.parse('its reason names "{what}" and "{largest}"'))
def _(net, what, largest):
    assert what in net.order().reason
    assert largest in net.order().reason


@then("the bids tell the refusal of the dear provider")
def _(net):
    told = {bid.provider: bid.refused for bid in net.order().bids}
    assert "5" in told[net.dear.did]


@then("the other job is queued with position 1, a reason and an estimate")
def _(net):
    queue = net.order(net.queued).queue
    assert net.order(net.queued).state is State.QUEUED
    assert queue.position == 1
    assert "CPU" in queue.reason
    assert queue.estimate_s > 0


@then("the queued job completes without the user")
def _(net):
    net.world.kill(net.user, silent=False)
    kept = net.provider.node.jobs
    net.until(lambda: kept[net.queued].state is State.RUNNING)
    net.end(net.queued)
    net.until(lambda: net.provider.node.jobs[net.queued].state is State.COMPLETED)


@then("the user is told that it waited too long")
def _(net):
    assert net.order().state is State.TIMED_OUT
    assert "queue timeout" in net.order().reason


@then(parsers.parse('the confirmation says that the job had ended as "{state}"'))
def _(net, state):
    said = net.order().confirmation
    assert (said.state, said.already_ended) == (state, True)
    assert net.order().state == state


@then(
    parsers.parse('the confirmation names the job, its owner and the state "{state}"')
)
def _(net, state):
    kept = [f for f in net.user.journal if isinstance(f, ft.CancelKept)]
    said = open_statement(
        kept[-1].data,
        kind=CONFIRMATION,
        payload_type=Confirmation,
        now_s=0,
        audience=net.owner,
        check_time=False,
    )
    assert said.issuer == net.provider.did
    confirmed = said.payload
    assert (confirmed.job, confirmed.owner) == (net.job, net.owner)
    assert confirmed.state == state
    assert is_final(confirmed.state)


@then("the user's directory holds no result")
def _(net):
    assert net.job not in net.run.people.fetched


@then("the result holds the outputs, both streams, the exit code and the receipt")
def _(net):
    receipt = open_statement(
        net.granted.receipt_data,
        kind=RECEIPT,
        payload_type=Receipt,
        now_s=0,
        audience=net.owner,
        check_time=False,
    ).payload
    # One root holds them all: what it is made of is for the tests of `results`.
    assert receipt.result == honest_result(net.job)
    assert (receipt.exit_code, receipt.state) == (0, State.COMPLETED)


@then("the job's document has a link to the result")
def _(net):
    link = parse_link(net.order().link)
    assert (link.job, link.owner) == (net.job, net.owner)
    assert net.order().result == honest_result(net.job)
