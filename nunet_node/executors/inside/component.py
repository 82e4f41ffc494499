"""Compile and run a WASI component, preview 2 of WASI.

A command is a component that exports ``wasi:cli/run``. Its end is ok or an error, with
no number, so that its exit code is 0 or 1. Nothing of ``wasi:sockets`` reaches a
network: the engine is given none, and the system-call filter denies sockets. Source:
WASI 0.2, wasi:cli.
"""

from typing import Any, Final

from wasmtime import Engine, ExitTrap, Store
from wasmtime.component import Component, Linker

_RUN: Final = "wasi:cli/run@0.2."


def compiled(engine: Engine, content: bytes) -> bytes:
    """Return a component as machine code.

    Raises:
        WasmtimeError: it is none, or needs what this engine has not.
    """
    return bytes(Component(engine, content).serialize())


def ending(
    engine: Engine, store: Store, machine_code: bytes
) -> tuple[int | None, str | None]:
    """Run a compiled component to its end.

    Returns:
        Its exit code, or None and why there is none.

    Raises:
        WasmtimeError: it trapped, or could not be instantiated.
    """
    component = Component.deserialize(engine, machine_code)
    names = component.type.exports(engine)
    name = next((each for each in names if each.startswith(_RUN)), None)
    if name is None:
        return None, "component: it exports no wasi:cli/run"
    linker = Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, component)
    interface = component.get_export_index(name)
    start: Any = instance.get_func(store, component.get_export_index("run", interface))
    try:
        return (0 if start(store).tag == "ok" else 1), None
    except ExitTrap as end:
        return end.code & 0xFF, None
