"""``demo``: a small network of real processes, and the whole story of a job on it."""
