"""A job as described by a person, and the specification that it stands for.

Rule: what is not said is None until the very end, so that a file and the options
of a command can be laid over each other; only `job_spec` fills in defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import msgspec

from nunet_node.jobs.job_file.network import check_network
from nunet_node.jobs.job_file.plain_yaml import JobFileError
from nunet_node.jobs.job_file.secrets import laid_over, names_of
from nunet_node.jobs.job_file.values import (
    FileInput,
    base_name,
    check_env_name,
    clean_name,
    is_path,
    suffix,
)
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import (
    Engine,
    Isolation,
    JobSpec,
    Network,
    ResultKind,
    Retry,
    RetryCause,
    Timeouts,
)
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import WireError
from nunet_node.wire.schema import from_plain, to_plain

_T = TypeVar("_T")
_ENGINE_OF_SUFFIX: Final = {".py": Engine.PYTHON, ".wasm": Engine.WASM}
_LEVEL_OF_ENGINE: Final = {
    Engine.PYTHON: Isolation.WASM,
    Engine.WASM: Isolation.WASM,
    Engine.PROCESS: Isolation.PROCESS,
    Engine.CONTAINER: Isolation.CONTAINER,
}
_INTERPRETER_OF_SUFFIX: Final = {".py": "python3", ".sh": "sh"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """What a file or a command line says of a job; None where it says nothing."""

    name: str | None = None
    engine: Engine | None = None
    isolation: Isolation | None = None
    network: Network | None = None
    program: str | None = None
    """Path of the script or module to run."""
    image: str | None = None
    """Path of a tar, or the name of a container's image."""
    command: tuple[str, ...] = ()
    """Words to run, if there is no program."""
    args: tuple[str, ...] = ()
    count: int | None = None
    """Partitions, each an ordinary job; None for a single job."""
    inputs: tuple[FileInput, ...] = ()
    outputs: tuple[str, ...] | None = None
    results: ResultKind | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretSource, ...] = ()
    """Where its secrets are read from; a specification has their names alone."""
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    gpus: Gpus | None = None
    run_s: int | None = None
    queue_s: int | None = None
    attempts: int | None = None
    retry_on: tuple[RetryCause, ...] | None = None
    retention_s: int | None = None
    replicas: int | None = None
    price_micro_ntx_max: int | None = None
    cancel_delegable: bool | None = None
    identity: str | None = None

    def overridden_by(self, options: "JobFile") -> "JobFile":
        """Return this with what ``options`` say; inputs and environment add up."""
        said = {
            name: value
            for name in self.__slots__
            if (value := getattr(options, name)) not in (None, (), {})
        }
        said["inputs"] = (*self.inputs, *options.inputs)
        said["env"] = {**self.env, **options.env}
        said["secrets"] = laid_over(self.secrets, options.secrets)
        return replace(self, **said)

    def beside(self, directory: str) -> "JobFile":
        """Return this with its relative paths taken from ``directory``."""
        if not directory:
            return self
        inputs = tuple(
            replace(each, path=_join(directory, each.path)) if each.is_here else each
            for each in self.inputs
        )
        secrets = tuple(
            msgspec.structs.replace(each, file=_join(directory, each.file))
            if each.file
            else each
            for each in self.secrets
        )
        program = self.program and _join(directory, self.program)
        image = self.image
        if image and is_path(image):
            image = _join(directory, image)
        return replace(
            self, inputs=inputs, secrets=secrets, program=program, image=image
        )

    def all_inputs(self) -> tuple[FileInput, ...]:
        """Return the inputs with the program, which is one of them."""
        brought = [
            FileInput(path=path, dest=base_name(path))
            for path in (self.program, self.image)
            if path is not None and (path is self.program or is_path(path))
        ]
        return (*brought, *(each for each in self.inputs if each not in brought))


def job_spec(file: JobFile, *, inputs: Cid | None, inputs_bytes: int) -> JobSpec:
    """Return the specification to sign, with its inputs as they were stored.

    Raises:
        JobFileError: there is nothing to run, or a value is out of bounds.
    """
    default = JobSpec(name="-", engine=Engine.PROCESS, command=("-",))
    engine = engine_of(file)
    _check_wheels(file, engine)
    network = _or(file.network, default.network)
    check_network(network, engine)
    for name in file.env:
        check_env_name(name)
    spec = JobSpec(
        name=name_of(file),
        engine=engine,
        image=_image(file, engine),
        isolation=_kept_in(file, engine),
        command=_words(file, engine),
        env=dict(sorted(file.env.items())),
        secrets=names_of(file.secrets),
        inputs=inputs,
        inputs_bytes=inputs_bytes,
        outputs=file.outputs or (),
        results=_or(file.results, default.results),
        network=network,
        resources=ResourceVector(
            cpu_millis=_or(file.cpu_millis, default.resources.cpu_millis),
            memory_bytes=_or(file.memory_bytes, default.resources.memory_bytes),
            disk_bytes=_or(file.disk_bytes, default.resources.disk_bytes),
        ).with_gpus(_gpus(file, engine)),
        timeouts=Timeouts(
            run_s=_or(file.run_s, default.timeouts.run_s),
            queue_s=_or(file.queue_s, default.timeouts.queue_s),
        ),
        retry=Retry(
            attempts=_or(file.attempts, default.retry.attempts),
            on=_or(file.retry_on, default.retry.on),
        ),
        retention_s=_or(file.retention_s, default.retention_s),
        replicas=_or(file.replicas, default.replicas),
        price_micro_ntx_max=file.price_micro_ntx_max,
        cancel_delegable=bool(file.cancel_delegable),
    )
    try:
        return from_plain(JobSpec, to_plain(spec))
    except WireError as error:
        raise JobFileError(f"the job is out of bounds: {error}") from None


def engine_of(file: JobFile) -> Engine:
    """Return the engine that the file names or its program implies.

    Raises:
        JobFileError: the program's name implies none.
    """
    if file.engine is not None:
        return file.engine
    if file.image is not None and not is_path(file.image):
        return Engine.CONTAINER
    if file.program is None:
        return Engine.PROCESS
    engine = _ENGINE_OF_SUFFIX.get(suffix(file.program))
    if engine is None:
        raise JobFileError(
            f"{file.program}: not a .py or .wasm file; name its engine, one of "
            f"{', '.join(Engine)}"
        )
    return engine


def name_of(file: JobFile) -> str:
    """Return the job's name, or one made from what it runs."""
    if file.name:
        return file.name
    what = base_name(file.program or (file.command or ("job",))[0])
    stem = what.removesuffix(suffix(what))
    return clean_name(stem) or "job"


def _words(file: JobFile, engine: Engine) -> tuple[str, ...]:
    """Return the words to run, as the engine wants them."""
    if file.program is None:
        if not file.command:
            raise JobFileError("there is nothing to run")
        return (*file.command, *file.args)
    program = base_name(file.program)
    if engine in (Engine.PYTHON, Engine.WASM):
        return (program, *file.args)
    interpreter = _INTERPRETER_OF_SUFFIX.get(suffix(program))
    words = (interpreter, program) if interpreter else (f"./{program}",)
    return (*words, *file.args)


def _image(file: JobFile, engine: Engine) -> str:
    """Return what names the root file system, checked against the engine."""
    image = file.image or ""
    if engine is Engine.CONTAINER and not image:
        raise JobFileError("a container needs an image: a tar of its root, or a name")
    if image and engine not in (Engine.CONTAINER, Engine.PROCESS):
        raise JobFileError(f"engine {engine} has no use for an image")
    if engine is Engine.PROCESS and image and not is_path(image):
        raise JobFileError(
            f"image {image!r}: a process brings its image as a .tar; "
            "write 'engine: container' for one that the provider has"
        )
    return base_name(image) if is_path(image) else image


def _check_wheels(file: JobFile, engine: Engine) -> None:
    """Refuse what Python in WebAssembly cannot import, before it travels.

    A wheel's name ends with what it runs on: Python, ABI and platform (PEP 427).
    """
    for each in file.inputs if engine is Engine.PYTHON else ():
        name = base_name(each.dest)
        if not name.endswith(".whl"):
            continue
        *_, abi, platform = ("", "", *name.removesuffix(".whl").split("-"))
        if (abi, platform) != ("none", "any"):
            raise JobFileError(
                f"{each.path} has compiled code, which a python job cannot load; bring "
                "a wheel whose name ends with none-any.whl, or write 'engine: process'"
            )


def _gpus(file: JobFile, engine: Engine) -> tuple[Gpus, ...]:
    """Return the GPUs that are asked for, checked against the engine."""
    if file.gpus is None:
        return ()
    if engine not in (Engine.CONTAINER, Engine.PROCESS):
        raise JobFileError(
            f"engine {engine} reaches no GPU; write 'engine: process' or "
            "'engine: container'"
        )
    return (file.gpus,)


def _kept_in(file: JobFile, engine: Engine) -> Isolation | None:
    """Return the level that is demanded, if any provider could ever meet it."""
    if file.isolation not in (None, _LEVEL_OF_ENGINE[engine]):
        raise JobFileError(
            f"isolation {file.isolation} is demanded, but engine {engine} keeps a job "
            f"in {_LEVEL_OF_ENGINE[engine]}"
        )
    return file.isolation


def _or(said: _T | None, default: _T) -> _T:
    return default if said is None else said


def _join(directory: str, path: str) -> str:
    return path if path.startswith("/") else f"{directory.rstrip('/')}/{path}"
