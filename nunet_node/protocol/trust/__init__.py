"""Whom a provider trusts: standing of delegations, admission, revocation."""
