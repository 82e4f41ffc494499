"""Everything that knows py-libp2p: its faults, covered, and what stands in for it."""
