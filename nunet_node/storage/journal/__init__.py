"""The journal: an append-only, hash-chained log of facts in one SQLite file.

`append` writes and reads it, `schema` lays it out and verifies it, and `watermark`
notes beside it how far it was acknowledged.
"""

from nunet_node.storage.journal.append import (
    APPEND_ENTRIES_MAX,
    FACT_BYTES_MAX,
    NODE_STREAM,
    SCHEMA_VERSION,
    Journal,
)

__all__ = [
    "APPEND_ENTRIES_MAX",
    "FACT_BYTES_MAX",
    "NODE_STREAM",
    "SCHEMA_VERSION",
    "Journal",
]
