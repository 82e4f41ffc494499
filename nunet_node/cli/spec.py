"""``spec``: write a first job file, check one, and publish the schema.

Rule: checking a file needs no network and changes nothing.
"""

import json
import os
from pathlib import Path
from typing import Final

import click

from nunet_node.cli.options import PATH
from nunet_node.cli.output import Settings
from nunet_node.jobs.job_file import (
    JobFile,
    JobFileError,
    engine_of,
    job_spec,
    read_job_file,
    schema,
)
from nunet_node.jobs.job_file.bacalhau import import_bacalhau
from nunet_node.jobs.job_file.plain_yaml import YAML_BYTES_MAX
from nunet_node.jobs.job_file.template import TEMPLATE
from nunet_node.quantities import cpu_text, size_text

SPEC_FILE: Final = "job.yaml"


@click.group("spec")
def spec_command() -> None:
    """Write and check job files."""


@spec_command.command("init")
@click.argument("file", type=PATH, default=Path(SPEC_FILE))
@click.pass_obj
def init(settings: Settings, file: Path) -> None:
    """Write a commented job file to FILE [job.yaml]; an existing one is kept."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(TEMPLATE)
    except FileExistsError:
        raise JobFileError(f"{file} exists already; name another file") from None
    settings.document({"path": str(file.absolute())})
    settings.say(f"wrote {file}\nnext: edit it, then nunet-node spec validate {file}")


@spec_command.command("schema")
def schema_() -> None:
    """Print the JSON Schema of job files, for editors."""
    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@spec_command.command("validate")
@click.argument("file", type=PATH)
@click.pass_obj
def validate(settings: Settings, file: Path) -> None:
    """Check FILE and the paths it names, without submitting it."""
    described = load_job_file(file)
    for each in described.all_inputs():
        if each.is_here and not os.path.lexists(each.path):
            raise JobFileError(f"{file}: input {each.path} does not exist")
    spec = job_spec(described, inputs=None, inputs_bytes=0)
    settings.document(
        {
            "valid": True,
            "name": spec.name,
            "engine": str(engine_of(described)),
            "command": list(spec.command),
        }
    )
    room = spec.resources
    gpus = f", {room.text('gpus')}" if room.gpu_kinds else ""
    settings.say(
        f"{file} is a valid job: {spec.name}, {spec.engine}, "
        f"{cpu_text(room.cpu_millis)} CPU, {size_text(room.memory_bytes)} memory, "
        f"{size_text(room.disk_bytes)} disk{gpus}\nnext: nunet-node submit {file}"
    )


@spec_command.group("import")
def import_() -> None:
    """Turn another system's job into a job file."""


@import_.command("bacalhau")
@click.argument("file", type=PATH)
@click.pass_obj
def import_bacalhau_(settings: Settings, file: Path) -> None:
    """Print the job file for the Bacalhau job in FILE; say what is not in it."""
    text = _text_of(file)
    try:
        made = import_bacalhau(text)
    except JobFileError as error:
        raise JobFileError(f"{file}: {error}") from None
    settings.document({"job_file": made.text, "left_out": list(made.left_out)})
    if not settings.json:
        settings.say(made.text.rstrip())
    for each in made.left_out:
        settings.note(f"left out: {each}")
    settings.note("next: write it to job.yaml, then nunet-node submit job.yaml")


def load_job_file(path: Path) -> JobFile:
    """Read a job file; its relative paths are taken from its own directory.

    Raises:
        JobFileError: it cannot be read or is wrong; the message names the file.
    """
    text = _text_of(path)
    try:
        described = read_job_file(text)
        engine_of(described)
    except JobFileError as error:
        raise JobFileError(f"{path}: {error}") from None
    return described.beside(str(path.parent))


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(YAML_BYTES_MAX + 1)
    except OSError as error:
        raise JobFileError(f"{path}: {error.strerror}") from None
    if len(data) > YAML_BYTES_MAX:
        raise JobFileError(f"{path}: larger than {YAML_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise JobFileError(f"{path}: not UTF-8 text") from None
