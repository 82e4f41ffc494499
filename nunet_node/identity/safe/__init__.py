"""Secrets at rest, and secrets that come from elsewhere."""
