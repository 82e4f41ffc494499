"""Every record that travels or is kept is read as its only encoding, or refused.

What is drawn has the shape of the record, so most of it gets past the first look.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nunet_node.errors import MisuseError
from nunet_node.wire import cbor
from nunet_node.wire.errors import WireError
from nunet_node.wire.schema import decode_record, encode_record
from tests.shapes import fitting, records, shaped

RECORDS = records()
EXAMPLES = 12
"""Of each of nearly a hundred records; what bends bytes is tried elsewhere."""


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_is_read_as_its_only_encoding_or_refused(name):
    kind, read = RECORDS[name], []

    @settings(
        max_examples=EXAMPLES, suppress_health_check=[HealthCheck.filter_too_much]
    )
    @given(st.one_of(fitting(kind), shaped(kind)))
    def tried(plain):
        try:
            data = cbor.encode(plain)
        except MisuseError:
            return
        try:
            record = decode_record(kind, data, bytes_max=1 << 20)
        except WireError:
            return
        assert encode_record(record) == data
        read.append(record)

    tried()
    assert read, f"nothing that was drawn is a {name}"
