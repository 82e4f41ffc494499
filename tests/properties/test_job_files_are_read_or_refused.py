"""Whatever a file or a link holds, it is read or refused, and never a surprise."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.job_file import (
    JobFile,
    JobFileError,
    job_spec,
    read_job_file,
    schema,
)
from nunet_node.jobs.link import format_link, parse_link
from nunet_node.jobs.specification import JobSpec
from nunet_node.wire.schema import decode_record, encode_record

OPTIONS = sorted(schema()["properties"])
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(OPTIONS) | st.text(max_size=5), inner, max_size=3
        )
    ),
    max_leaves=8,
)
JOB_IDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=32, max_size=32)
SEEDS = st.binary(min_size=32, max_size=32)
PARTS = st.text(alphabet="abcxyz019.-_", min_size=1, max_size=12)


def read_or_refused(text):
    """Return what a job file says, or why it is refused."""
    try:
        return repr(read_job_file(text))
    except JobFileError as error:
        return str(error)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    assert len(read_or_refused(text).splitlines()) == 1


@given(st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=6))
def test_any_values_are_read_or_refused(values):
    text = yaml.safe_dump({"version": 1, "command": ["x"], **values})
    assert len(read_or_refused(text).splitlines()) == 1


@given(
    command=st.lists(st.text(max_size=10), min_size=1, max_size=4),
    env=st.dictionaries(
        st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=3
    ),
    cpu_millis=st.integers(min_value=0, max_value=2**60),
)
def test_a_specification_that_is_made_survives_the_wire(command, env, cpu_millis):
    file = JobFile(command=tuple(command), env=env, cpu_millis=cpu_millis)
    try:
        spec = job_spec(file, inputs=None, inputs_bytes=0)
    except PeerError:
        return
    data = encode_record(spec)
    assert decode_record(JobSpec, data, bytes_max=len(data)) == spec


@given(
    JOB_IDS,
    SEEDS,
    SEEDS,
    st.lists(st.builds("/{}/{}".format, PARTS, PARTS), max_size=8),
)
def test_a_link_is_read_back_as_it_was_written(job, owner, custodian, addresses):
    owner_did, custodian_did = SigningKey(owner).did, SigningKey(custodian).did
    link = parse_link(format_link(job, owner_did, custodian_did, addresses))

    assert (link.job, link.owner, link.custodian) == (job, owner_did, custodian_did)
    assert list(link.addresses) == addresses


@given(st.text(max_size=100).map("nunet://{}".format))
def test_any_other_link_is_refused(text):
    with pytest.raises(PeerError):
        parse_link(text)
