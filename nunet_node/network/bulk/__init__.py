"""A connection of its own for bulk bytes, beside libp2p's; docs/decisions/0030."""
