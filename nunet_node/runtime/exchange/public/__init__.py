"""Public results for software nobody here wrote: Bitswap alone; ADR 0034."""
