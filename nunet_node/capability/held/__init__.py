"""Delegations in people's hands: as text, as terms, as a collection, in words."""
