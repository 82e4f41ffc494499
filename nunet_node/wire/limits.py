"""Every size limit on bytes that come from somebody else, in one place.

Rule: a limit is checked before memory is set aside for what it limits.
"""

from typing import Final

FRAME_BYTES_MAX: Final = 262_144
"""Largest frame on a stream: room for a job's specification with its proofs, and
small enough that a full table of connections buffers megabytes, not gigabytes."""

GOSSIP_BYTES_MAX: Final = 16_384
"""Largest gossiped message: every peer of a topic pays for each one."""

BLOCK_BYTES_MAX: Final = 1_048_576
"""Largest block that is made here: the usual chunk of content-addressed stores."""

BLOCK_DECODE_BYTES_MAX: Final = 2_097_152
"""Largest block that is read: other stores make blocks of up to 2 MiB."""

FRAME_PREFIX_BYTES: Final = 4
"""Length of the big-endian length that precedes each frame."""

DEPTH_MAX: Final = 16
"""Deepest nesting of arrays and maps: schemas need seven, and a recursive reader
must stay far from the interpreter's own limit."""

ITEMS_MAX: Final = 65_536
"""Most CBOR items in one value. Each becomes an object of up to about 100 bytes, so
a full frame of one-byte items costs some 6 MiB, not 25."""

STATEMENT_OVERHEAD_BYTES_MAX: Final = 1_024
"""Room for a statement's header and signature around its payload."""

PROTECTED_BYTES_MAX: Final = 768
"""Largest protected header of a statement: a P-256 key's DID URL, two DIDs or a DID
and a topic's name, two times and an id take less than 400."""
