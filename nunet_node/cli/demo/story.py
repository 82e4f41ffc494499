"""The demonstration's story, chapter by chapter, told as it happens.

Rule: nothing is acted. Every line tells of something that the network just did, and
a chapter that does not come out as it should ends the demonstration with an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from nunet_node.cli.demo.network import DemoError, Provider
from nunet_node.cli.output import visible
from nunet_node.cli.progress import line_of, short
from nunet_node.client import (
    Client,
    JobFile,
    JobHandle,
    UnknownJobError,
    open_client,
)
from nunet_node.client.documents import Document
from nunet_node.demo import SCRIPT, TABLE, directory
from nunet_node.jobs.job_file import FileInput
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.effects import News
from nunet_node.quantities import cpu_text

PRICE_MICRO_NTX_MAX: Final = 250_000
"""What the job may cost: the third provider asks more, and is refused."""

HEARD_S: Final = 60
"""How long the providers may take to offer room; they may compile Python first."""

FREED_S: Final = 20
"""How long freed room may take to be advertised; gossip takes well under a second."""

NAP: Final = """\
import sys, time
print("working", flush=True)
time.sleep(float(sys.argv[1]))
print("done", flush=True)
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story plays, and who tells it."""

    homes: Path
    providers: tuple[Provider, ...]
    say: Say

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """Where to join the network."""
        return tuple(each.address for each in self.providers)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.say(f"\n== {title}")

    def tell(self, news: News) -> None:
        """Tell of one event."""
        line = line_of(news)
        if line:
            self.say(f"  {line}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is left when the story is over."""

    job: str
    link: str
    result: Path


async def tell_story(stage: Stage, target: Path) -> Ending:
    """Tell the whole story; the result of its first job lies in ``target`` then.

    Raises:
        DemoError: something did not come out as it should.
        PeerError: something failed.
    """
    async with open_client(
        stage.homes / "you", bootstrap=stage.bootstrap, gossip=True
    ) as you:
        stage.say(f"you are {you.identity.did}")
        await _capacity(stage, you)
        handle = await _real_work(stage, you, target)
        link = handle.order.link
        await _stranger(stage, link)
        nap = stage.homes / "nap.py"
        await trio.Path(nap).write_text(NAP)
        await _cancel(stage, you, nap)
        await _queue(stage, you, nap)
    return Ending(job=handle.job, link=link, result=target)


async def _capacity(stage: Stage, you: Client) -> None:
    stage.chapter("Capacity is heard")
    wanted = len(stage.providers)
    with trio.move_on_after(HEARD_S):
        await you.until_heard(lambda nodes: len(_ready(nodes)) >= wanted)
    ready = _ready(await you.nodes())
    if len(ready) < wanted:
        raise DemoError(f"only {len(ready)} of {wanted} offer Python")
    for node in ready:
        stage.say(
            f"  {short(node['did'])} offers {cpu_text(node['free']['cpu_millis'])} CPU "
            f"at {node['price']} NTX an hour: {', '.join(node['engines'])}"
        )


def _ready(nodes: list[Document]) -> list[Document]:
    return [node for node in nodes if "python" in node["engines"]]


async def _real_work(stage: Stage, you: Client, target: Path) -> JobHandle:
    stage.chapter("A job: what sixty years of measurements say about the air")
    place = str(directory())
    work = JobFile(
        name="co2",
        program=SCRIPT,
        args=(TABLE,),
        inputs=(FileInput(path=TABLE, dest=TABLE),),
        price_micro_ntx_max=PRICE_MICRO_NTX_MAX,
    ).beside(place)
    handle = await you.submit(work, stage.tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_logs, stage, handle)
        order = await handle.ended()
    if order.state is not State.COMPLETED:
        raise DemoError(f"the job {order.state}: {order.reason}")
    await handle.fetch(target)
    stage.say(f"  every block verified, receipt kept: {target}")
    return handle


async def _follow_logs(stage: Stage, handle: JobHandle) -> None:
    begun = b""
    async for piece in handle.output():
        *whole, begun = (begun + piece.data).split(b"\n")
        for line in whole:
            stage.say(f"    | {visible(line.decode(errors='replace'))}")


async def _stranger(stage: Stage, link: str) -> None:
    stage.chapter("A stranger asks for the result, with the link but not your key")
    async with open_client(
        stage.homes / "stranger", bootstrap=stage.bootstrap
    ) as stranger:
        stage.say(f"  the stranger is {short(stranger.identity.did)}")
        handle = await stranger.find(link, stage.tell)
        try:
            await handle.fetch(stage.homes / "stolen")
        except UnknownJobError:
            stage.say("  nothing was disclosed, not even that the job exists")
        else:
            raise DemoError("a stranger was given the result")


async def _cancel(stage: Stage, you: Client, nap: Path) -> None:
    stage.chapter("A job is cancelled, and its room comes back")
    handle = await you.submit(_nap(nap, "cancelled", 600), stage.tell)
    order = await handle.started()
    if order.award is None or order.ended:
        raise DemoError(f"the job did not start: {order.reason}")
    provider = order.award.provider
    await _until_free(stage, you, provider, 0)
    confirmed = await handle.cancel()
    if confirmed is None:
        raise DemoError("the cancel was not confirmed")
    stage.say(f"  the provider's signed confirmation says: {confirmed.state}")
    await _until_free(stage, you, provider, 1000)


async def _until_free(
    stage: Stage, you: Client, provider: str, cpu_millis: int
) -> None:
    """Wait until a provider's advert shows so much free, and say so."""

    def shows(nodes: list[Document]) -> bool:
        free = [node["free"] for node in nodes if node["did"] == provider]
        return bool(free) and free[0]["cpu_millis"] == cpu_millis

    with trio.move_on_after(FREED_S) as waiting:
        await you.until_heard(shows)
    if waiting.cancelled_caught:
        raise DemoError(f"{short(provider)} did not advertise what it has free")
    stage.say(f"  {short(provider)} now advertises {cpu_text(cpu_millis)} CPU free")


async def _queue(stage: Stage, you: Client, nap: Path) -> None:
    stage.chapter("Everybody is busy: a job queues, and then runs by itself")
    busy = {}
    for number in range(1, len(stage.providers) + 1):
        handle = await you.submit(_nap(nap, f"busy-{number}", 600))
        order = await handle.started()
        if order.award is None or order.ended:
            raise DemoError(f"a job did not start: {order.reason}")
        busy[order.award.provider] = handle
    stage.say(f"  {len(busy)} jobs fill {len(busy)} providers")
    last = await you.submit(_nap(nap, "patient", 0), stage.tell)
    order = await last.placed()
    if order.queue is None or order.award is None:
        raise DemoError("a job did not queue though nobody had room")
    stage.say("  it is the provider's now; the job before it is cancelled:")
    await busy.pop(order.award.provider).cancel()
    if (await last.ended()).state is not State.COMPLETED:
        raise DemoError(f"the queued job ended as {last.order.state}")
    for handle in busy.values():
        await handle.cancel()


def _nap(script: Path, name: str, seconds: int) -> JobFile:
    return JobFile(name=name, program=str(script), args=(str(seconds),), run_s=900)
