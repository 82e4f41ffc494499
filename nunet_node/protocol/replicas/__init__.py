"""Copies of results at other nodes: keeping them, and having them kept."""
