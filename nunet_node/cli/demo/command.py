"""The ``demo`` command: set the stage, tell the story, clear up."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import trio

from nunet_node.cli.demo.network import providers
from nunet_node.cli.demo.story import Ending, Stage, tell_story
from nunet_node.cli.options import Whole
from nunet_node.cli.output import Settings

RESULT: Final = "nunet-demo"

PROVIDERS_MAX: Final = 9
"""Most providers: each is a process of some 80 MB."""


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Keep the result and everybody's homes here. [result only, in ./{RESULT}]",
)
@click.option(
    "--providers",
    "count",
    type=Whole(1, PROVIDERS_MAX),
    default=3,
    show_default=True,
    help="How many providers to run.",
)
@click.pass_obj
def demo_command(settings: Settings, out: Path | None, count: int) -> None:
    """Run a small network on this machine, and a real job on it.

    Nothing leaves the machine, and nothing keeps running afterwards.
    """
    with _homes(out) as homes:
        target = _free(out / "result" if out else Path(RESULT)).absolute()
        ending = trio.run(_play, settings, homes, count, target)
    settings.document(
        {"job": ending.job, "link": ending.link, "path": str(ending.result)}
    )
    settings.say(f"\nThe result: {ending.result}")
    for chart in sorted(ending.result.rglob("*.svg")):
        settings.say(f"  a chart for your browser: {chart}")
    settings.say(
        "Next:\n"
        f"  ls -R {ending.result}\n"
        "  nunet-node up              offer this machine to the network\n"
        "  nunet-node spec init       describe a job of your own"
    )


async def _play(settings: Settings, homes: Path, count: int, target: Path) -> Ending:
    settings.say(f"starting {count} providers, each a process with a key of its own")
    async with providers(homes, count) as started:
        for each in started:
            settings.say(f"  {each.name} is {each.did}")
        stage = Stage(homes=homes, providers=started, say=settings.say)
        return await tell_story(stage, target)


@contextlib.contextmanager
def _homes(out: Path | None) -> Iterator[Path]:
    if out is None:
        homes = Path(tempfile.mkdtemp(prefix="nunet-demo-"))
        try:
            yield homes
        finally:
            shutil.rmtree(homes, ignore_errors=True)
    else:
        homes = out / "homes"
        homes.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield homes


def _free(path: Path) -> Path:
    """Return the path, numbered if it is taken: an earlier result is never touched."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
