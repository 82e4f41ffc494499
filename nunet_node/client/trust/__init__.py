"""Giving others a part of what one may, taking it back, and asking about it."""
