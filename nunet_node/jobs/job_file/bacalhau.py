"""Reading another system's jobs: Bacalhau's, for the part that maps.

Rule: what is carried over means the same, and everything else is named, so that
nobody takes a job for the same that is not. What would change what runs is refused;
what only steers where or how often is left out. What is given as nothing (null, an
empty list or text) is not given. Source: Bacalhau's job specification 1.x, of type
``batch`` with one task on ``docker`` or ``wasm``, in YAML or JSON; its sizes are those
of go-humanize.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nunet_node.jobs.job_file.description import job_spec
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

_UNIT: Final = re.compile(r"([0-9.]+)\s*([KMGT])(i?)B?", re.IGNORECASE)
"""A size there: K, M, G and T are powers of a thousand unless an i follows."""

_UNPRINTED: Final = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON leaves as it is, and YAML takes for the end of a line or refuses."""

_LATER: Final = ("http://", "https://", "job:")
"""How an input of ours begins that is not a path."""


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
    top = read_yaml(_as_yaml(text))
    draft = _Draft({"version": 1})
    pairs = _given(top)
    if "Job" in pairs and "Tasks" not in pairs:
        # So it is described by Bacalhau itself, with all that became of it.
        pairs = _given(pairs["Job"])
    tasks = pairs.pop("Tasks", None)
    if tasks is None or len(tasks.items()) != 1:
        raise top.wrong("a Bacalhau job with exactly one task is wanted")
    _read(draft, pairs, _TOP)
    _read(draft, _given(tasks.items()[0]), _TASK)
    if not {"command", "module"} & draft.said.keys():
        raise top.wrong("nothing to run: the task names no command")
    made = _written(draft.said)
    try:
        job_spec(read_job_file(made), inputs=None, inputs_bytes=0)
    except JobFileError as error:
        raise JobFileError(f"what was imported is no job: {error}") from None
    return Imported(text=made, left_out=tuple(draft.left_out))


def _as_yaml(text: str) -> str:
    """Spell JSON so that it is YAML: without tabs between values, for one.

    Raises:
        JobFileError: nested too deep to be read.
    """
    try:
        return _json(json.loads(text))
    except RecursionError:
        raise JobFileError("nested too deep") from None
    except ValueError:
        return text


def _given(value: Value) -> dict[str, Value]:
    """Return the values of a map that say something."""
    return {name: each for name, each in value.pairs().items() if not each.is_empty}


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
    pairs = _given(value)
    kind = pairs["Type"].text().lower() if "Type" in pairs else ""
    readers = {"docker": _DOCKER, "wasm": _WASM}.get(kind)
    if readers is None:
        raise value.wrong("only the engines docker and wasm have an equal here")
    if "Params" not in pairs:
        raise value.wrong("the engine has no Params")
    if kind == "docker":
        draft.said["engine"] = "container"
    params = _given(pairs["Params"])
    for name, each in params.items():
        if name not in readers:
            raise each.wrong("changes what runs, and has no equal here")
    _read(draft, params, readers)


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
    # Empty text is a value; only null is none.
    pairs = {name: each.text() for name, each in value.pairs().items()}
    draft.said["env"] = draft.said.get("env", {}) | pairs


def _variable_words(draft: _Draft, value: Value) -> None:
    pairs = dict(each.text().partition("=")[::2] for each in value.items())
    draft.said["env"] = draft.said.get("env", {}) | pairs


def _resources(draft: _Draft, value: Value) -> None:
    names = {"CPU": "cpus", "Memory": "memory", "Disk": "disk", "GPU": "gpu"}
    for name, each in _given(value).items():
        if name in names and each.text() == "0":
            # So they write what they leave to their defaults.
            continue
        if name in names:
            room = draft.said.setdefault("resources", {})
            room[names[name]] = _amount(name, each.text())
        else:
            raise each.wrong("no engine here gives a job this")


def _amount(name: str, text: str) -> str:
    """Spell an amount our way: half a processor may be 500m there."""
    if name == "CPU" and text.endswith("m") and text[:-1].isdigit():
        millis = int(text[:-1])
        return f"{millis // 1000}.{millis % 1000:03}"
    match = _UNIT.fullmatch(text) if name in ("Memory", "Disk") else None
    if match is not None:
        number, unit, binary = match.groups()
        return f"{number}{unit.upper()}{'iB' if binary else 'B'}"
    return text


def _network(draft: _Draft, value: Value) -> None:
    """Leave it out: what maps runs in a container or WebAssembly, and reaches nothing.

    Where domains are named, the line is told that a process could have instead.
    """
    pairs = _given(value)
    kind = pairs["Type"].text().lower() if "Type" in pairs else "none"
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
    for name, each in _given(value).items():
        if each.text() == "0":
            continue
        if name in names:
            limits = draft.said.setdefault("timeouts", {})
            limits[names[name]] = each.text()
        else:
            draft.drop(each, "running and waiting are limited apart")


def _inputs(draft: _Draft, value: Value) -> None:
    for each in value.items():
        pairs = _given(each)
        target = pairs["Target"].text() if "Target" in pairs else "/inputs"
        dest = target.strip("/") or "inputs"
        if ":" in dest:
            raise pairs["Target"].wrong("no colon can stand in the name of an input")
        if _writes_back(each):
            draft.drop(each, "what it writes there stays in the job's own copy")
        draft.said.setdefault("inputs", []).append(f"{_local_path(each)}:{dest}")
        if target.startswith("/"):
            draft.drop(each, f"{target} is {dest} in the job's directory, /job")


def _local_path(value: Value) -> str:
    """Return the path of something that lies on this machine."""
    kind, params = _source(value)
    path = params.get("SourcePath")
    if kind != "localdirectory" or path is None:
        raise value.wrong("only local files can be brought; fetch it first")
    text = path.text()
    return f"./{text}" if text.startswith(_LATER) else text


def _source(value: Value) -> tuple[str, dict[str, Value]]:
    """Return of what type a source is, and its parameters."""
    source = _given(value).get("Source")
    pairs = {} if source is None else _given(source)
    kind = pairs["Type"].text().lower() if "Type" in pairs else ""
    return kind, _given(pairs["Params"]) if "Params" in pairs else {}


def _writes_back(value: Value) -> bool:
    _, params = _source(value)
    flag = params.get("ReadWrite")
    return flag is not None and flag.text().lower() == "true"


def _results(draft: _Draft, value: Value) -> None:
    for each in value.items():
        path = _given(each).get("Path")
        if path is None:
            raise each.wrong("a result needs a Path")
        inside = path.text().strip("/") or "outputs"
        draft.said.setdefault("outputs", []).append(inside)
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
    return "".join(f"{name}: {_json(value)}\n" for name, value in said.items())


def _json(value: Any) -> str:
    """Write JSON that YAML reads as the same."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
