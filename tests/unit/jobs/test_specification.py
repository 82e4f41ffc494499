"""A specification has one encoding, and a job's id binds it to its owner."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import (
    ARGUMENTS_MAX,
    ENV_MAX,
    JOB_ID_CHARS,
    OUTPUT_GLOBS_MAX,
    RUN_S_MAX,
    Engine,
    JobSpec,
    Retry,
    Timeouts,
    is_job_id,
    job_id_of,
)
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import SchemaError
from nunet_node.wire.schema import decode_record, encode_record, from_plain, to_plain

OWNER = SigningKey(bytes(32)).did
STRANGER = SigningKey(bytes([1] * 32)).did
SPEC = Cid.of_dag_cbor(b"\xa0")
SALT = bytes(16)


def plain(**said):
    return {"name": "n", "engine": "python", "command": ["main.py"], **said}


def test_a_specification_comes_back_as_it_was():
    spec = JobSpec(
        name="co2",
        engine=Engine.PYTHON,
        command=("analyse.py", "co2.csv"),
        env={"LANG": "C.UTF-8"},
        inputs=Cid.of_dag_cbor(b"\xa0"),
        outputs=("out/**",),
        timeouts=Timeouts(run_s=300),
        retry=Retry(attempts=2),
    )
    data = encode_record(spec)
    assert decode_record(JobSpec, data, bytes_max=len(data)) == spec


@pytest.mark.parametrize(
    "said",
    [
        {"name": ""},
        {"name": "n" * 65},
        {"name": "nul\0"},
        {"name": "\x1b[2J"},
        {"name": "line\n"},
        {"env": {"A=B": "x"}},
        {"env": {"nul\0": "x"}},
        {"engine": "docker"},
        {"command": []},
        {"command": ["x"] * (ARGUMENTS_MAX + 1)},
        {"command": ["nul\0"]},
        {"command": ["line\n", "nul\0\n"]},
        {"command": ["x" * 32769]},
        {"env": {str(n): "x" for n in range(ENV_MAX + 1)}},
        {"env": {"A": "nul\0"}},
        {"outputs": ["x"] * (OUTPUT_GLOBS_MAX + 1)},
        {"outputs": [""]},
        {"inputs": "not a content id"},
        {"inputs_bytes": -1},
        {"resources": {"memory_bytes": -1}},
        {"resources": {"memory_bytes": 2**53}},
        {"resources": {"gpu": 1}},
        {"timeouts": {"run_s": 0}},
        {"timeouts": {"run_s": RUN_S_MAX + 1}},
        {"timeouts": {"run_s": True}},
        {"retry": {"attempts": 0}},
        {"retry": {"attempts": 17}},
        {"retry": {"on": ["cancelled"]}},
        {"price_micro_ntx_max": -1},
        {"version": 2},
        {"owner": "did:key:z6Mk"},
    ],
    ids=str,
)
def test_what_is_out_of_bounds_or_unknown_is_refused(said):
    from_plain(JobSpec, plain())
    with pytest.raises(SchemaError):
        from_plain(JobSpec, plain(**said))


def test_a_plain_specification_needs_only_a_name_an_engine_and_a_command():
    spec = from_plain(JobSpec, plain())
    assert to_plain(spec) == {"name": "n", "engine": "python", "command": ("main.py",)}


def test_a_job_id_is_short_enough_to_type_and_has_one_form():
    job = job_id_of(OWNER, SPEC, SALT)
    assert len(job) == JOB_ID_CHARS
    assert is_job_id(job)


@pytest.mark.parametrize(
    "text", ["", "a" * 31, "a" * 33, "A" * 32, "a" * 31 + "1", "a" * 32 + "\n"]
)
def test_what_is_not_a_whole_id_is_none(text):
    assert not is_job_id(text)


def test_a_retry_with_the_same_salt_is_the_same_job():
    assert job_id_of(OWNER, SPEC, SALT) == job_id_of(OWNER, SPEC, SALT)


def test_another_owner_specification_or_salt_is_another_job():
    jobs = {
        job_id_of(OWNER, SPEC, SALT),
        job_id_of(STRANGER, SPEC, SALT),
        job_id_of(OWNER, Cid.of_dag_cbor(b"\xa1"), SALT),
        job_id_of(OWNER, SPEC, bytes([1] * 16)),
    }
    assert len(jobs) == 4
