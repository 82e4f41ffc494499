"""Signatures by keys that are not in this process."""
