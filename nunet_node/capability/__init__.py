"""The capability room."""
