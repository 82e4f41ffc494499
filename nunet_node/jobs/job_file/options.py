"""The options of a job file: one table for the reader and for the JSON Schema.

Rule: an option exists if and only if it stands in `JOB_OPTIONS` or in one of its
sections, so what is read and what is published cannot differ. The format is
docs/protocol/job-file.md; the schema is JSON Schema draft 2020-12.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file.description import JobFile
from nunet_node.jobs.job_file.gpu import GPU_SCHEMA, read_gpu
from nunet_node.jobs.job_file.network import NETWORK_SCHEMA, read_network
from nunet_node.jobs.job_file.plain_yaml import JobFileError, Value, read_yaml
from nunet_node.jobs.job_file.secrets import SECRETS_SCHEMA, read_secrets
from nunet_node.jobs.job_file.values import (
    ENV_NAME_PATTERN,
    NAME_PATTERN,
    parse_cause,
    parse_engine,
    parse_env,
    parse_input,
    parse_isolation,
    parse_name,
    parse_output,
    parse_result_kind,
    parse_retention_s,
    parse_run_s,
    parse_some_cpu_millis,
    parse_some_memory_bytes,
    parse_truth,
    whole_number,
)
from nunet_node.jobs.specification import (
    ARGUMENTS_MAX,
    ENV_MAX,
    OUTPUT_GLOBS_MAX,
    REPLICAS_MAX,
    Engine,
    Isolation,
    ResultKind,
    RetryCause,
)
from nunet_node.quantities import parse_price_micro_ntx, parse_size_bytes

VERSION: Final = 1

ATTEMPTS_MAX: Final = 16
"""Most attempts at one job, as many as a job's history keeps."""

COUNT_MAX: Final = 10_000
"""Most partitions of one job; each has a record in the home and a receipt."""

INPUTS_MAX: Final = 256
"""Inputs named in one file; a directory counts once, whatever it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOption:
    """One option of the file: how it is read, and what may stand there."""

    read: Callable[[Value], Any]
    schema: Mapping[str, Any]
    sets: str = ""
    """The field of `JobFile` that it sets, if that has another name."""


def read_job_file(text: str) -> JobFile:
    """Read a job file.

    Raises:
        JobFileError: it is wrong; the message names the line and the remedy.
    """
    value = read_yaml(text)
    said = _section(JOB_OPTIONS)(value)
    if "version" not in said:
        raise value.wrong(f"the first line must be 'version: {VERSION}'")
    programs = [name for name in ("script", "module", "command") if name in said]
    if len(programs) != 1:
        found = " and ".join(programs) or "none"
        raise value.wrong(f"give one of script, module and command, not {found}")
    said["program"] = said.pop("script", None) or said.pop("module", None)
    for name in ("resources", "timeouts", "retry"):
        said |= said.pop(name, {})
    del said["version"]
    return JobFile(**said)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a job file, draft 2020-12."""
    programs = [{"required": [name]} for name in ("script", "module", "command")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nunet-node job file",
        **_object_schema(JOB_OPTIONS, "A job for nunet-node."),
        "required": ["version"],
        "oneOf": programs,
    }


def _one(parse: Callable[[str], object]) -> Callable[[Value], Any]:
    """Return a reader of one scalar, whose errors say where it stands."""

    def read(value: Value) -> object:
        text = value.text()
        try:
            return parse(text)
        except PeerError as error:
            raise value.wrong(str(error)) from None

    return read


def _many(parse: Callable[[str], object], count_max: int) -> Callable[[Value], Any]:
    def read(value: Value) -> tuple[object, ...]:
        items = value.items()
        if len(items) > count_max:
            raise value.wrong(f"at most {count_max} entries")
        return tuple(_one(parse)(item) for item in items)

    return read


def _words(value: Value) -> tuple[str, ...]:
    words = _many(str, ARGUMENTS_MAX)(value)
    if not words:
        raise value.wrong("no words; the first is the program to run")
    return tuple(words)


def _variables(value: Value) -> dict[str, str]:
    pairs = value.pairs()
    if len(pairs) > ENV_MAX:
        raise value.wrong(f"at most {ENV_MAX} variables")
    try:
        return dict(parse_env(f"{name}={each.text()}") for name, each in pairs.items())
    except JobFileError as error:
        raise value.wrong(str(error)) from None


def _section(options: Mapping[str, "JobOption"]) -> Callable[[Value], dict[str, Any]]:
    """Return a reader of a map with these options, to the fields they set."""

    def read(value: Value) -> dict[str, Any]:
        pairs = value.known_pairs(options)
        return {
            options[name].sets or name: options[name].read(each)
            for name, each in pairs.items()
        }

    return read


def _said(about: str, **rules: object) -> dict[str, Any]:
    return {"description": about, **rules}


def _text(about: str, **rules: object) -> dict[str, Any]:
    return _said(about, type="string", **rules)


def _amount(about: str, pattern: str) -> dict[str, Any]:
    return _said(about, type=["string", "number"], pattern=pattern, minimum=0)


def _list(about: str, count_max: int, **item: object) -> dict[str, Any]:
    items = item or {"type": ["string", "number", "boolean"]}
    return _said(about, type="array", items=items, maxItems=count_max)


def _object_schema(options: Mapping[str, "JobOption"], about: str) -> dict[str, Any]:
    properties = {name: dict(option.schema) for name, option in options.items()}
    return _said(
        about, type="object", additionalProperties=False, properties=properties
    )


def _group(about: str, options: Mapping[str, JobOption]) -> JobOption:
    return JobOption(read=_section(options), schema=_object_schema(options, about))


_SIZE: Final = r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt]([Ii]?[Bb])?|[Bb])?$"
_DURATION: Final = r"^[0-9]+(\.[0-9]+)? ?[smhdwSMHDW]?$"
_DECIMAL: Final = r"^[0-9]+(\.[0-9]+)?$"

RESOURCE_OPTIONS: Final[Mapping[str, JobOption]] = {
    "cpus": JobOption(
        sets="cpu_millis",
        read=_one(parse_some_cpu_millis),
        schema=_amount("Processors, such as 2 or 0.5; 1 unless given.", _DECIMAL),
    ),
    "memory": JobOption(
        sets="memory_bytes",
        read=_one(parse_some_memory_bytes),
        schema=_amount("Memory, such as 512MiB; 256MiB unless given.", _SIZE),
    ),
    "disk": JobOption(
        sets="disk_bytes",
        read=_one(parse_size_bytes),
        schema=_amount(
            "Disk for inputs and outputs, such as 1GiB; 128MiB unless given.", _SIZE
        ),
    ),
    "gpu": JobOption(sets="gpus", read=read_gpu, schema=GPU_SCHEMA),
}
"""What a job needs; it is stopped if it takes more."""

TIMEOUT_OPTIONS: Final[Mapping[str, JobOption]] = {
    "run": JobOption(
        sets="run_s",
        read=_one(parse_run_s),
        schema=_amount("How long it may run, such as 10m; 1h unless given.", _DURATION),
    ),
    "queue": JobOption(
        sets="queue_s",
        read=_one(parse_run_s),
        schema=_amount(
            "How long it may wait for room, such as 2h; 7d unless given.", _DURATION
        ),
    ),
}
"""How long a job may take."""

RETRY_OPTIONS: Final[Mapping[str, JobOption]] = {
    "attempts": JobOption(
        sets="attempts",
        read=_one(whole_number(1, ATTEMPTS_MAX)),
        schema=_said(
            "Runs in all, 1 unless given; more says that running twice does no harm.",
            type="integer",
            minimum=1,
            maximum=ATTEMPTS_MAX,
        ),
    ),
    "on": JobOption(
        sets="retry_on",
        read=_many(parse_cause, len(RetryCause)),
        schema=_list(
            "Ends after which to try again: 'lost' unless given.",
            len(RetryCause),
            enum=[str(cause) for cause in RetryCause],
        ),
    ),
}
"""Whether a job is run again."""

JOB_OPTIONS: Final[Mapping[str, JobOption]] = {
    "version": JobOption(
        read=_one(whole_number(VERSION, VERSION)),
        schema=_said("Version of this format.", const=VERSION),
    ),
    "name": JobOption(
        read=_one(parse_name),
        schema=_text(
            "What to call the job; made from what it runs unless given.",
            pattern=rf"^{NAME_PATTERN}$",
        ),
    ),
    "engine": JobOption(
        read=_one(parse_engine),
        schema=_said(
            "How it runs; from the script or module unless given.",
            enum=[str(engine) for engine in Engine],
        ),
    ),
    "image": JobOption(
        read=_one(str),
        schema=_text(
            "Root file system: PATH.tar, or the name of a container's image.",
            minLength=1,
            maxLength=256,
        ),
    ),
    "count": JobOption(
        read=_one(whole_number(1, COUNT_MAX)),
        schema=_said(
            "Partitions to run; each sees NUNET_PARTITION_INDEX and _COUNT.",
            type="integer",
            minimum=1,
            maximum=COUNT_MAX,
        ),
    ),
    "isolation": JobOption(
        read=_one(parse_isolation),
        schema=_said(
            "What must keep it from the machine; what its engine has unless given.",
            enum=[str(level) for level in Isolation],
        ),
    ),
    "network": JobOption(read=read_network, schema=NETWORK_SCHEMA),
    "script": JobOption(
        read=_one(str),
        schema=_text("A script to run, such as analyse.py.", minLength=1),
    ),
    "module": JobOption(
        read=_one(str),
        schema=_text("A WebAssembly module to run, such as tool.wasm.", minLength=1),
    ),
    "command": JobOption(
        read=_words,
        schema={**_list("A command to run, in words.", ARGUMENTS_MAX), "minItems": 1},
    ),
    "args": JobOption(
        read=_many(str, ARGUMENTS_MAX),
        schema=_list("Words handed to the script or module.", ARGUMENTS_MAX),
    ),
    "inputs": JobOption(
        read=_many(parse_input, INPUTS_MAX),
        schema=_list(
            "What it reads: PATH, URL#sha256=HEX or job:ID/PATH, each also with :DEST.",
            INPUTS_MAX,
            type="string",
            minLength=1,
        ),
    ),
    "outputs": JobOption(
        read=_many(parse_output, OUTPUT_GLOBS_MAX),
        schema=_list(
            "Patterns of files to keep, such as out/**; every new file unless given.",
            OUTPUT_GLOBS_MAX,
            type="string",
            minLength=1,
        ),
    ),
    "results": JobOption(
        read=_one(parse_result_kind),
        schema=_said(
            "Who can read the result: 'sealed', its owner alone, unless given; or "
            "'public', everybody.",
            enum=[str(kind) for kind in ResultKind],
        ),
    ),
    "retention": JobOption(
        sets="retention_s",
        read=_one(parse_retention_s),
        schema=_amount(
            "How long the result is kept, such as 90d; 30d unless given.", _DURATION
        ),
    ),
    "replicas": JobOption(
        read=_one(whole_number(0, REPLICAS_MAX)),
        schema=_said(
            "Copies of the result at other nodes, for when its provider is gone.",
            type="integer",
            minimum=0,
            maximum=REPLICAS_MAX,
        ),
    ),
    "env": JobOption(
        read=_variables,
        schema=_said(
            "Environment variables it sees.",
            type="object",
            propertyNames={"pattern": rf"^{ENV_NAME_PATTERN}$"},
            additionalProperties={"type": ["string", "number", "boolean"]},
            maxProperties=ENV_MAX,
        ),
    ),
    "secrets": JobOption(read=read_secrets, schema=SECRETS_SCHEMA),
    "resources": _group("What it needs.", RESOURCE_OPTIONS),
    "timeouts": _group("How long it may take.", TIMEOUT_OPTIONS),
    "retry": _group("Whether it is run again.", RETRY_OPTIONS),
    "max_price": JobOption(
        sets="price_micro_ntx_max",
        read=_one(parse_price_micro_ntx),
        schema=_amount("Highest price of a CPU-hour, in NTX; any if absent.", _DECIMAL),
    ),
    "cancel_delegable": JobOption(
        read=_one(parse_truth),
        schema=_said(
            "Whether somebody to whom that was delegated may cancel it too; false "
            "unless given.",
            type="boolean",
        ),
    ),
    "identity": JobOption(
        read=_one(str),
        schema=_text("Which of your identities owns it; 'default' unless given."),
    ),
}
"""Every option there is."""
