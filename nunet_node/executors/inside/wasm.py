"""Compile and run a WASI module with wasmtime.

Guests see preview 1 of WASI: arguments, variables, clocks, random bytes, their own
output and the given directories, nothing else. They can exit with 0 to 125 only;
wasmtime treats anything above as a trap. Fuel meters instructions; only
killing this process interrupts a guest for sure, because fuel and epochs do not
reach into host calls. Source: WASI preview 1; wasmtime documentation, "Interrupting
Execution".
"""

import os
from collections.abc import Callable
from typing import Any, Final

import wasmtime
from wasmtime import ExitTrap, Linker, Module, Store, Trap, WasiConfig, WasmtimeError

from nunet_node.executors.inside import confine

FUEL_MAX: Final = 2**62
"""More instructions than any deadline allows: fuel only counts here."""
TABLE_ELEMENTS_MAX: Final = 1_000_000
"""Most table entries; each costs the host 16 bytes outside the guest's memory."""
EXIT_TRAPPED: Final = 134
"""Exit code of a guest that trapped: 128 + SIGABRT, as a shell shows an abort."""
TRAP_TEXT_CHARS_MAX: Final = 2000
"""Longest explanation of a trap; a backtrace through deep recursion has no end."""

Tell = Callable[[int, dict[str, Any]], None]


def engine(*, parallel: bool = False) -> wasmtime.Engine:
    """Return the engine that both compiles and runs; artefacts fit only this one."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.parallel_compilation = parallel
    return wasmtime.Engine(config)


def compile_module(request: dict[str, Any], tell: Tell) -> None:
    """Compile the module on ``source_fd`` to machine code on ``target_fd``.

    The module is a stranger's, so the compiler is confined like a guest.
    """
    maker = engine(parallel=request["parallel"])
    with os.fdopen(request["source_fd"], "rb") as source:
        module_bytes = source.read()
    confine.confine(request)
    try:
        compiled = Module(maker, module_bytes).serialize()
    except WasmtimeError as error:
        tell(request["status_fd"], {"failed": f"module: {_short(error)}"})
        os._exit(1)
    with os.fdopen(request["target_fd"], "wb") as target:
        target.write(compiled)
    tell(request["status_fd"], {"exit": 0})
    os._exit(0)


def run(request: dict[str, Any], tell: Tell) -> None:
    """Load the compiled module, confine this process, run the guest, and exit."""
    maker = engine()
    module = Module.deserialize_file(maker, request["module"])
    linker = Linker(maker)
    linker.define_wasi()
    # Opened now: the barriers forbid opening it when the guest has ended.
    own_status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    achieved = confine.confine(request)
    store = _store(maker, request)
    tell(request["status_fd"], {"started": achieved})
    record = _ending(store, linker, module)
    record["fuel"] = FUEL_MAX - store.get_fuel()
    record["peak_kib"] = _peak_kib(own_status)
    tell(request["status_fd"], record)
    os._exit(record["exit"])


def _store(maker: wasmtime.Engine, request: dict[str, Any]) -> Store:
    wasi = WasiConfig()
    wasi.argv = request["argv"]
    wasi.env = [(name, value) for name, value in request["env"]]
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for host, guest in request["directories"]:
        wasi.preopen_dir(host, guest)
    store = Store(maker)
    store.set_limits(
        memory_size=request["memory_bytes"],
        table_elements=TABLE_ELEMENTS_MAX,
        instances=1,
        tables=8,
        memories=1,
    )
    store.set_fuel(FUEL_MAX)
    store.set_wasi(wasi)
    return store


def _ending(store: Store, linker: Linker, module: Module) -> dict[str, Any]:
    try:
        start = linker.instantiate(store, module).exports(store)["_start"]
    except KeyError:
        return {"exit": EXIT_TRAPPED, "reason": "module: it exports no _start"}
    except WasmtimeError as error:
        return {"exit": EXIT_TRAPPED, "reason": f"module: {_short(error)}"}
    except Trap as trap:
        return {"exit": EXIT_TRAPPED, "reason": f"trap: {_short(trap)}"}
    try:
        start(store)
    except ExitTrap as end:
        return {"exit": end.code & 0xFF}
    except (Trap, WasmtimeError) as trap:
        return {"exit": EXIT_TRAPPED, "reason": f"trap: {_short(trap)}"}
    return {"exit": 0}


def _peak_kib(own_status: int) -> int:
    # Not getrusage: its peak counts the memory of the process that spawned this one.
    for line in os.pread(own_status, 8192, 0).splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1])
    return 0


def _short(error: Exception) -> str:
    return str(error).strip()[-TRAP_TEXT_CHARS_MAX:]
