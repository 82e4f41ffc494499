"""Bulk bytes at speed: blocks from several peers at once, and the bulk connection."""
