"""``simulate``: under virtual time, or with real processes beside it."""
