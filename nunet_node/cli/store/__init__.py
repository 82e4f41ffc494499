"""The commands about the blocks of a home."""
