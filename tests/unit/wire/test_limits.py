"""Limits only protect if they fit into one another."""

from nunet_node.wire import limits


def test_a_gossiped_message_fits_a_frame():
    assert limits.GOSSIP_BYTES_MAX <= limits.FRAME_BYTES_MAX


def test_every_block_that_is_made_can_be_read():
    assert limits.BLOCK_BYTES_MAX <= limits.BLOCK_DECODE_BYTES_MAX


def test_every_frame_length_fits_its_prefix():
    assert limits.FRAME_BYTES_MAX < 256**limits.FRAME_PREFIX_BYTES


def test_a_statements_header_fits_its_overhead():
    assert limits.PROTECTED_BYTES_MAX < limits.STATEMENT_OVERHEAD_BYTES_MAX
