"""Ray, by its Jobs API over plain HTTP: a job is one entry point that is our runner.

Rule: no Ray library is loaded, and an answer that is not the expected one is a
`ClusterError` with Ray's own words. A job that waits for room in Ray cannot be taken
back (stopping one only marks it), so what no machine could hold is never handed over,
and a runner that starts too late is told to go. Source: Ray 2.60, its Jobs REST API.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from nunet_node.executors.cluster.port import (
    DETAIL_CHARS_MAX,
    LABEL_CHARS_MAX,
    TICKET_VARIABLE,
    ClusterError,
    ClusterGpus,
    ClusterJob,
    ClusterRefusedError,
    JobState,
    MachineRoom,
)

ANSWER_S: Final = 30
"""Longest wait for one answer; a busy head takes some seconds."""
DISK_SHARE_PERCENT: Final = 50
"""Of what is free on a machine, as on one that runs jobs by itself."""
DISK_STEP_BYTES: Final = 1 << 30
_ACCELERATOR: Final = "accelerator_type:"
"""How the resource is called that every machine with a type of GPU has one of."""
_ACCELERATOR_SHARE: Final = 0.001
"""As much of it as Ray itself asks for, to be where it is and to keep nobody out."""
_NODES: Final = "/api/v0/nodes?detail=true&limit=10000"
"""The list with names as they are; so many machines are the most that Ray lists."""
_WAITING: Final = "PENDING"
_RUNNING: Final = "RUNNING"

Document = dict[str, Any]


class RayCluster:
    """The cluster behind one dashboard."""

    def __init__(self, address: str, *, token: str = "") -> None:
        """Speak to ``address``, such as ``http://127.0.0.1:8265``.

        ``token`` proves us to a cluster that asks for one.
        """
        self._address = address
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(
            base_url=address, timeout=ANSWER_S, headers=headers
        )

    async def describe(self) -> str:
        """Return version and address."""
        version = await self._asked("GET", "/api/version")
        return f"Ray {str(version.get('ray_version'))[:32]} at {self._address}"

    async def machines(self) -> tuple[MachineRoom, ...]:
        """Return the living machines."""
        found = machines_of(await self._asked("GET", "/nodes?view=summary"))
        if not any(machine.gpus for machine in found):
            return found
        # The summary spells the names of resources in a way of its own.
        labels = labels_of(await self._asked("GET", _NODES))
        return tuple(_labelled(machine, labels) for machine in found)

    async def submit(self, job: ClusterJob) -> str:
        """Hand over the entry point.

        Raises:
            ClusterError: Ray did not take it.
        """
        await self._asked("POST", "/api/jobs/", json=submission(job))
        return job.name

    async def state(self, handle: str) -> JobState:
        """Return where a job is."""
        answer = await self._sent("GET", f"/api/jobs/{handle}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return JobState(phase="ended", detail="Ray does not know it")
        return state_of(_document(answer))

    async def stop(self, handle: str) -> None:
        """Begin to end a job."""
        answer = await self._sent("POST", f"/api/jobs/{handle}/stop")
        if answer.status_code != httpx.codes.NOT_FOUND:
            _document(answer)

    async def living(self) -> Mapping[str, str]:
        """Return the jobs that have not ended; their handles are their names."""
        found = _checked(await self._sent("GET", "/api/jobs/")).json()
        jobs = [each for each in found if isinstance(each, dict)]
        alive = (each for each in jobs if each.get("status") in {_WAITING, _RUNNING})
        names = (str(each.get("submission_id") or "") for each in alive)
        return {name: name for name in names if name}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _asked(self, method: str, url: str, **more: Any) -> Document:
        return _document(await self._sent(method, url, **more))

    async def _sent(self, method: str, url: str, **more: Any) -> httpx.Response:
        try:
            return await self._client.request(method, url, **more)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ClusterError(f"Ray at {self._address} says nothing: {why}") from None


def submission(job: ClusterJob) -> Document:
    """Return the document that submits a job."""
    document: Document = {
        "submission_id": job.name,
        "entrypoint": f"exec {shlex.join(job.words)}",
        "entrypoint_num_cpus": job.cpu_millis / 1000,
        "entrypoint_memory": job.memory_bytes,
        "runtime_env": {"env_vars": {TICKET_VARIABLE: job.ticket}},
    }
    if job.gpus is not None:
        document["entrypoint_num_gpus"] = job.gpus.count
        if job.gpus.label:
            name = f"{_ACCELERATOR}{job.gpus.label}"
            document["entrypoint_resources"] = {name: _ACCELERATOR_SHARE}
    return document


def machines_of(document: Document) -> tuple[MachineRoom, ...]:
    """Read the living machines from the dashboard's summary, their GPUs unnamed."""
    try:
        summaries = document["data"]["summary"]
        found = [_machine(each) for each in summaries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(f"Ray's summary of its nodes misses {error}") from None
    return tuple(machine for machine in found if machine is not None)


def state_of(document: Document) -> JobState:
    """Read where a job is."""
    status = str(document.get("status"))
    message = str(document.get("message") or "").partition("\n")[0]
    detail = f"{status}: {message}"[:DETAIL_CHARS_MAX] if message else status
    if status == _WAITING:
        return JobState(phase="waiting", detail=detail)
    if status == _RUNNING:
        return JobState(phase="running", detail=detail)
    return JobState(phase="ended", detail=detail)


def _machine(summary: Document) -> MachineRoom | None:
    raylet = summary.get("raylet") or {}
    resources = raylet.get("resourcesTotal")
    # A machine that has just joined, or has gone, says less.
    if raylet.get("state") != "ALIVE" or resources is None:
        return None
    disks = summary.get("disk") or {}
    count = int(resources.get("GPU", 0))
    free = min((int(each["free"]) for each in disks.values()), default=0)
    return MachineRoom(
        name=str(raylet["nodeId"]),
        cpu_millis=int(resources.get("CPU", 0) * 1000),
        memory_bytes=int(resources.get("memory", 0)),
        # In steps, so that what is offered does not change with every file.
        disk_bytes=free * DISK_SHARE_PERCENT // 100 // DISK_STEP_BYTES * DISK_STEP_BYTES
        or (1 if disks else 0),
        gpus=(ClusterGpus(label="", count=count),) if count > 0 else (),
    )


def labels_of(document: Document) -> dict[str, str]:
    """Read, by machine, the type of GPU of those that name one and no more."""
    try:
        found = [
            (str(each["node_id"]), _labels(each["resources_total"]))
            for each in document["data"]["result"]["result"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ClusterError(f"Ray's list of its nodes misses {error}") from None
    return {node: labels[0] for node, labels in found if len(labels) == 1}


def _labelled(machine: MachineRoom, labels: Mapping[str, str]) -> MachineRoom:
    label = labels.get(machine.name, "")
    return replace(machine, gpus=tuple(replace(g, label=label) for g in machine.gpus))


def _labels(resources: Document) -> list[str]:
    named = [name for name in resources if name.startswith(_ACCELERATOR)]
    labels = [name.removeprefix(_ACCELERATOR) for name in named]
    return [label for label in labels if 0 < len(label) <= LABEL_CHARS_MAX]


def _document(answer: httpx.Response) -> Document:
    try:
        found = _checked(answer).json()
    except ValueError:
        raise ClusterError("Ray did not answer in JSON") from None
    if not isinstance(found, dict):
        raise ClusterError("Ray did not answer with a document")
    return found


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    last = answer.text.strip().splitlines()[-1:] or ["nothing"]
    said = f"Ray answered {answer.status_code}: {last[0][:DETAIL_CHARS_MAX]}"
    refused = answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.FORBIDDEN}
    raise ClusterRefusedError(said) if refused else ClusterError(said)
