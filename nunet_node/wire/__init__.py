"""Bytes to values and back: strict CBOR, content ids, frames and COSE structure.

Nothing here knows who is speaking or what is asked; it only decides whether bytes
are the one encoding of a value, within limits.
"""
