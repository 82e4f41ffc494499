"""Modules and components, told apart by their first bytes.

Source: WebAssembly component model, design/mvp/Binary.md.
"""

from typing import Final

COMPONENT: Final = b"\0asm\x0d\x00\x01\x00"
"""How a component begins; a core module has another version and layer."""


def is_component(content: bytes) -> bool:
    """Tell a component from a module."""
    return content[: len(COMPONENT)] == COMPONENT
