"""Many runs of one scenario: every seed at every size, spread over processes.

Rule: the runs of a sweep know nothing of each other, so it makes no difference where
each happens: in this process, in a pool of them, or on a Ray cluster.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import msgspec

from nunet_node.errors import PeerError
from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Outcome, Run
from nunet_node.simulator.scenario import Scenario

WORKERS_MAX: Final = 256
"""Processes of one sweep; each takes as much memory as its run."""


class RayMissingError(PeerError):
    """A Ray cluster was named, and Ray is not installed here."""

    code = "simulator.ray"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a sweep."""

    scenario: Scenario
    seed: int


def points(scenario: Scenario) -> tuple[Point, ...]:
    """Return every size with every seed; the scenario's own size if it names none."""
    sizes = scenario.sizes or (scenario.machines,)
    return tuple(
        Point(scenario=scenario.sized(size), seed=scenario.seed + number)
        for size in sizes
        for number in range(scenario.seeds)
    )


def play_point(point: Point) -> Outcome:
    """Play one run, from its plan to its end."""
    return Run(make_plan(point.scenario, point.seed)).play()


def play_all(
    found: Sequence[Point], *, workers: int, ray_address: str = ""
) -> Iterator[tuple[Point, Outcome]]:
    """Play every point and yield it with its outcome, in the points' order.

    Args:
        found: what to play.
        workers: how many processes; 1 stays in this one.
        ray_address: a Ray cluster that plays instead, if it is given.

    Raises:
        RayMissingError: a cluster is given and Ray is not installed.
    """
    if ray_address:
        yield from zip(found, _on_ray(found, ray_address), strict=True)
    elif workers <= 1:
        yield from ((point, play_point(point)) for point in found)
    else:
        with ProcessPoolExecutor(min(workers, WORKERS_MAX)) as pool:
            yield from zip(found, pool.map(play_point, found), strict=True)


def _on_ray(found: Sequence[Point], address: str) -> Iterator[Outcome]:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise RayMissingError(
            "Ray is not installed: pip install ray, or leave --ray out"
        ) from None
    ray.init(address=address, ignore_reinit_error=True)
    play: Callable[[Point], Any] = ray.remote(play_point).remote
    yield from map(ray.get, [play(point) for point in found])
