"""What a job is: the exact statement that its owner signs and a provider runs.

A specification is a value with one encoding, so its CID names the work: two
peers that agree on the CID agree on every word of it. The job's own id binds
the specification to its owner::

    job = base32(sha256("nunet/job/1" | owner | specification CID | salt))[:32]

so nobody can take over a job by repeating its specification, and a retry of one
submit (same salt) is the same job.
"""

import base64
import hashlib
import re
from enum import StrEnum
from typing import Annotated, Final, NewType

import msgspec

from nunet_node.domains import DOMAINS_MAX, Domain
from nunet_node.identity.did import Did
from nunet_node.quantities import INT53_MAX, Count, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

JobId = NewType("JobId", str)
"""32 characters of lower-case base32: 160 bits, so that prefixes stay typeable."""

JOB_ID_CHARS: Final = 32
JOB_ID_PATTERN: Final = re.compile(r"[a-z2-7]{32}")
SALT_BYTES: Final = 16

RUN_S_MAX: Final = 30 * 86400
"""Longest run: a month. Beyond it a crash is likelier than an end."""

LEASE_MARGIN_S: Final = 600
"""Time for staging, storing and telling, beyond waiting and running."""

RETENTION_S_MAX: Final = 366 * 86400
"""Longest time for which a result can be asked to be kept: a year."""

REPLICAS_MAX: Final = 8
"""Most copies of a result at other nodes; with half of all nodes gone for ever, one
of eight is left in 255 cases of 256."""

ARGUMENTS_MAX: Final = 1024
"""Words in a command; with their length limit they stay far below ARG_MAX."""

OUTPUT_GLOBS_MAX: Final = 64
"""Output patterns; each is matched against every new file."""

ENV_MAX: Final = 128
"""Environment variables a job may bring."""

SECRETS_MAX: Final = 32
"""Secrets a job may name: each is a file that its provider makes."""

Argument = Annotated[str, msgspec.Meta(max_length=32768, pattern=r"^[^\x00]*\Z")]
Name = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")
]
"""What a job is called. It reaches terminals and an environment, so it holds no
control characters."""
Variable = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^=\x00]*\Z")
]
Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
SecretName = Annotated[
    str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
]
"""What a job calls a secret: the name of a file, and so without any path."""


class Engine(StrEnum):
    """How a job runs: the sandbox, not the language."""

    PYTHON = "python"
    WASM = "wasm"
    PROCESS = "process"
    CONTAINER = "container"


class ResultKind(StrEnum):
    """Who can read a result that a provider keeps."""

    SEALED = "sealed"
    """The owner, and whom the owner gives the key."""
    PUBLIC = "public"
    """Everybody, as plain files that other tools can fetch too."""


class Isolation(StrEnum):
    """What keeps a job from the machine it runs on."""

    WASM = "wasm"
    PROCESS = "process"
    CONTAINER = "container"


class RetryCause(StrEnum):
    """Ends of an attempt after which the owner allows another."""

    LOST = "lost"
    FAILED = "failed"


class Timeouts(Record):
    """How long a job may run, and how long it may wait for room."""

    run_s: Annotated[int, msgspec.Meta(ge=1, le=RUN_S_MAX)] = 3600
    queue_s: Annotated[int, msgspec.Meta(ge=1, le=RUN_S_MAX)] = 7 * 86400


class Retry(Record):
    """Whether the work may be begun again, and how often in all.

    Invariant: the owner who sets it declares that running twice does no harm.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    on: tuple[RetryCause, ...] = (RetryCause.LOST,)


class Network(Record):
    """What a job may reach: nothing, or these domains over HTTP."""

    http: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=DOMAINS_MAX)] = ()


class JobSpec(Record):
    """Everything a provider needs to run a job, apart from the input bytes."""

    name: Name
    engine: Engine
    command: Annotated[
        tuple[Argument, ...], msgspec.Meta(min_length=1, max_length=ARGUMENTS_MAX)
    ]
    """The words to run. For ``python`` and ``wasm`` the first is a path in the job
    directory; for ``process`` it is a program."""
    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    env: Annotated[dict[Variable, Argument], msgspec.Meta(max_length=ENV_MAX)] = (
        msgspec.field(default_factory=dict)
    )
    secrets: Annotated[
        tuple[SecretName, ...], msgspec.Meta(max_length=SECRETS_MAX)
    ] = ()
    """Names of values that it is told under ``/run/secrets``, once it was awarded."""
    inputs: Cid | None = None
    """Manifest of the tree that is laid into the job directory."""
    inputs_bytes: Count = 0
    outputs: Annotated[tuple[Glob, ...], msgspec.Meta(max_length=OUTPUT_GLOBS_MAX)] = ()
    image: Annotated[str, msgspec.Meta(max_length=256)] = ""
    """Root file system of a container, or of a process that brings its own: a tar
    among the inputs, or for a container an image that the provider has."""
    isolation: Isolation | None = None
    """What must keep it; whatever the engine has, if absent."""
    network: Network = Network()
    resources: ResourceVector = ResourceVector(
        cpu_millis=1000, memory_bytes=256 << 20, disk_bytes=128 << 20
    )
    output_bytes_max: Annotated[int, msgspec.Meta(ge=0, le=INT53_MAX)] | None = None
    """Bytes of results kept; the disk limit when absent."""
    results: ResultKind = ResultKind.SEALED
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    retention_s: Annotated[int, msgspec.Meta(ge=1, le=RETENTION_S_MAX)] = 30 * 86400
    """How long its result is kept after its end; then it is deleted everywhere."""
    replicas: Annotated[int, msgspec.Meta(ge=0, le=REPLICAS_MAX)] = 0
    """Copies of its result at other nodes than the one that ran it."""
    price_micro_ntx_max: Count | None = None
    """Highest acceptable price of one CPU-hour; any when absent."""
    cancel_delegable: bool = False
    """Whether a delegate may cancel too, if a delegation says so; else the owner's
    own key alone can."""

    @property
    def lease_s(self) -> int:
        """Seconds from its acceptance in which an attempt ends, whatever happens."""
        return self.timeouts.queue_s + self.timeouts.run_s + LEASE_MARGIN_S


def job_id_of(owner: Did, spec: Cid, salt: bytes) -> JobId:
    """Return the id that binds an owner, a specification and a salt of 16 bytes."""
    digest = hashlib.sha256(b"nunet/job/1")
    for part in (owner.encode(), spec.to_bytes(), salt):
        digest.update(len(part).to_bytes(4, "big") + part)
    return JobId(base64.b32encode(digest.digest()).decode().lower()[:JOB_ID_CHARS])


def is_job_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a whole job id."""
    return JOB_ID_PATTERN.fullmatch(text) is not None
