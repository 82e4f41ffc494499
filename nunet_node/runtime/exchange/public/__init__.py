"""Public results for software nobody here wrote: Bitswap 1.2, and nothing private; ADR 0034."""
