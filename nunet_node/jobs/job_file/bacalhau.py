"""Reading another system's jobs: Bacalhau's, for the part that maps.

Rule: what is carried over means the same, and everything else is named, so that
nobody takes a job for the same that is not. What would change what runs is refused;
what only steers where or how often is left out. Source: Bacalhau's job specification
1.x, of type ``batch`` with one task on ``docker`` or ``wasm``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nunet_node.jobs.job_file.options import read_job_file
from nunet_node.jobs.job_file.plain_yaml import JobFileError, Value, read_yaml
from nunet_node.jobs.job_file.values import clean_name

_LEFT_OUT: Final[Mapping[str, str]] = {
    "Namespace": "there are no namespaces; jobs belong to their owner",
    "Priority": "the queue is fair among owners",
    "Labels": "jobs have no labels",
    "Meta": "jobs have no labels",
    "Constraints": "providers are chosen by room and price",
    "Publisher": "the provider keeps the result for its owner",
    "ID": "the id is made of owner and specification",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A job file, and what of the other one is not in it."""

    text: str
    left_out: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    said: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def drop(self, value: Value, why: str) -> None:
        """Name something that is not carried over."""
        self.left_out.append(f"{value.path}: {why}")


_Reader = Callable[[_Draft, Value], None]


def import_bacalhau(text: str) -> Imported:
    """Turn a Bacalhau job into a job file.

    Raises:
        JobFileError: it is no such job, or what it runs has no equal here.
    """
    top = read_yaml(text)
    draft = _Draft({"version": 1})
    pairs = dict(top.pairs())
    tasks = pairs.pop("Tasks", None)
    if tasks is None or len(tasks.items()) != 1:
        raise top.wrong("a Bacalhau job with exactly one task is wanted")
    _read(draft, pairs, _TOP)
    _read(draft, tasks.items()[0].pairs(), _TASK)
    if not {"command", "module"} & draft.said.keys():
        raise top.wrong("nothing to run: the task names no command")
    made = _written(draft.said)
    try:
        read_job_file(made)
    except JobFileError as error:
        raise JobFileError(f"what was imported is no job: {error}") from None
    return Imported(text=made, left_out=tuple(draft.left_out))


def _read(
    draft: _Draft, pairs: Mapping[str, Value], readers: Mapping[str, _Reader]
) -> None:
    # In the order of the table: an entry point comes before its parameters.
    for name, read in readers.items():
        if name in pairs:
            read(draft, pairs[name])
    for name, value in pairs.items():
        if name not in readers:
            draft.drop(value, _LEFT_OUT.get(name, "has no equal here"))


def _name(draft: _Draft, value: Value) -> None:
    draft.said["name"] = clean_name(value.text()) or "job"


def _type(_draft: _Draft, value: Value) -> None:
    if value.text() != "batch":
        raise value.wrong("only jobs of type batch end by themselves")


def _count(draft: _Draft, value: Value) -> None:
    if value.text() != "1":
        draft.said["count"] = int(value.text()) if value.text().isdigit() else 0


def _engine(draft: _Draft, value: Value) -> None:
    pairs = value.pairs()
    kind = pairs["Type"].text().lower() if "Type" in pairs else ""
    readers = {"docker": _DOCKER, "wasm": _WASM}.get(kind)
    if readers is None:
        raise value.wrong("only the engines docker and wasm have an equal here")
    if "Params" not in pairs:
        raise value.wrong("the engine has no Params")
    if kind == "docker":
        draft.said["engine"] = "container"
    _read(draft, pairs["Params"].pairs(), readers)


def _image(draft: _Draft, value: Value) -> None:
    draft.said["image"] = value.text()
    draft.left_out.append(
        f"{value.path}: images are not pulled: the provider must have this one, or "
        "name a tar of it; its own entry point is not used"
    )


def _command(draft: _Draft, value: Value) -> None:
    words = [each.text() for each in value.items()]
    draft.said["command"] = draft.said.get("command", []) + words


def _module(draft: _Draft, value: Value) -> None:
    draft.said["module"] = _local_path(value)


def _arguments(draft: _Draft, value: Value) -> None:
    draft.said["args"] = [each.text() for each in value.items()]


def _start(_draft: _Draft, value: Value) -> None:
    if value.text() != "_start":
        raise value.wrong("only modules that start at _start can be run")


def _variables(draft: _Draft, value: Value) -> None:
    pairs = {name: each.text() for name, each in value.pairs().items()}
    draft.said["env"] = draft.said.get("env", {}) | pairs


def _variable_words(draft: _Draft, value: Value) -> None:
    pairs = dict(each.text().partition("=")[::2] for each in value.items())
    draft.said["env"] = draft.said.get("env", {}) | pairs


def _resources(draft: _Draft, value: Value) -> None:
    names = {"CPU": "cpus", "Memory": "memory", "Disk": "disk", "GPU": "gpu"}
    for name, each in value.pairs().items():
        if name == "GPU" and each.text() in ("", "0"):
            continue
        if name in names and each.text():
            room = draft.said.setdefault("resources", {})
            room[names[name]] = _amount(name, each.text())
        else:
            raise each.wrong("no engine here gives a job this")


def _amount(name: str, text: str) -> str:
    """Spell an amount our way: half a processor may be 500m there."""
    if name == "CPU" and text.endswith("m") and text[:-1].isdigit():
        millis = int(text[:-1])
        return f"{millis // 1000}.{millis % 1000:03}"
    return text


def _network(draft: _Draft, value: Value) -> None:
    """Leave it out: what maps runs in a container or WebAssembly, and reaches nothing.

    Where domains are named, the line is told that a process could have instead.
    """
    pairs = value.pairs()
    kind = pairs["Type"].text().lower() if "Type" in pairs else ""
    domains = pairs["Domains"].items() if "Domains" in pairs else []
    if kind == "http" and domains:
        rules = ",".join(_rule(each.text()) for each in domains)
        draft.drop(
            value,
            "only a process reaches domains here; bring what it fetched, or give it a "
            f"tar as its image and write 'engine: process' and 'network: http:{rules}'",
        )
    elif kind != "none":
        draft.drop(value, "no job reaches all of a network; bring what it fetched")
    draft.said["network"] = "none"


def _rule(domain: str) -> str:
    """Spell a domain our way: a dot in front stands for all that is below it."""
    return f"*{domain.lower()}" if domain.startswith(".") else domain.lower()


def _timeouts(draft: _Draft, value: Value) -> None:
    names = {"ExecutionTimeout": "run", "QueueTimeout": "queue"}
    for name, each in value.pairs().items():
        if name in names:
            if each.text() != "0":
                limits = draft.said.setdefault("timeouts", {})
                limits[names[name]] = each.text()
        else:
            draft.drop(each, "running and waiting are limited apart")


def _inputs(draft: _Draft, value: Value) -> None:
    for each in value.items():
        pairs = each.pairs()
        target = pairs["Target"].text() if "Target" in pairs else "/inputs"
        dest = target.strip("/") or "inputs"
        draft.said.setdefault("inputs", []).append(f"{_local_path(each)}:{dest}")
        if target.startswith("/"):
            draft.drop(each, f"{target} is {dest} in the job's directory, /job")


def _local_path(value: Value) -> str:
    """Return the path of something that lies on this machine."""
    source = value.pairs().get("Source")
    pairs = {} if source is None else source.pairs()
    kind = pairs["Type"].text().lower() if "Type" in pairs else ""
    path = pairs["Params"].pairs().get("SourcePath") if "Params" in pairs else None
    if kind != "localdirectory" or path is None:
        raise value.wrong("only local files can be brought; fetch it first")
    return path.text()


def _results(draft: _Draft, value: Value) -> None:
    for each in value.items():
        path = each.pairs().get("Path")
        if path is None:
            raise each.wrong("a result needs a Path")
        inside = path.text().strip("/") or "outputs"
        draft.said.setdefault("outputs", []).append(f"{inside}/**")
        draft.drop(each, f"write to {inside} in the job's directory, /job")


def _skip(_draft: _Draft, _value: Value) -> None:
    """Take in silence what says nothing about the work."""


_TOP: Final[Mapping[str, _Reader]] = {"Name": _name, "Type": _type, "Count": _count}
_TASK: Final[Mapping[str, _Reader]] = {
    "Name": _skip,
    "Engine": _engine,
    "Env": _variables,
    "Resources": _resources,
    "ResourcesConfig": _resources,
    "Network": _network,
    "Timeouts": _timeouts,
    "InputSources": _inputs,
    "ResultPaths": _results,
}
_DOCKER: Final[Mapping[str, _Reader]] = {
    "Image": _image,
    "Entrypoint": _command,
    "Parameters": _command,
    "EnvironmentVariables": _variable_words,
}
_WASM: Final[Mapping[str, _Reader]] = {
    "EntryModule": _module,
    "Entrypoint": _start,
    "EntryPoint": _start,
    "Parameters": _arguments,
    "EnvironmentVariables": _variables,
}


def _written(said: Mapping[str, Any]) -> str:
    """Write a job file; every value is JSON, which YAML reads."""
    lines = [
        f"{name}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in said.items()
    ]
    return "\n".join(lines) + "\n"
