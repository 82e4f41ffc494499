"""The simulator: production nodes by the thousand, under virtual time."""
