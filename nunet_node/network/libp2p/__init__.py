"""Everything that knows py-libp2p: its faults, covered, and what stands in for it."""

import nunet_node.network.libp2p.lean  # noqa: F401 - before any other import of it
