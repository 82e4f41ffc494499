"""Compile and run a WASI module with wasmtime.

Modules see preview 1 of WASI: arguments, variables, clocks, random bytes, their own
output and the given directories, nothing else. They can exit with 0 to 125 only;
wasmtime treats anything above as a trap. Fuel meters instructions; only
killing this process interrupts a guest for sure, because fuel and epochs do not
reach into host calls. Source: WASI preview 1; wasmtime documentation, "Interrupting
Execution".
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import wasmtime
from wasmtime import ExitTrap, Linker, Module, Store, Trap, WasiConfig, WasmtimeError

from nunet_node.executors.inside import confine, secrets
from nunet_node.executors.inside.preamble import is_component

FUEL_MAX: Final = 2**62
"""More instructions than any deadline allows: fuel only counts here."""
TABLE_ELEMENTS_MAX: Final = 1_000_000
"""Most table entries; each costs the host 16 bytes outside the guest's memory."""
BACKTRACE_CHARS_MAX: Final = 1500
"""Most of a trap that is told; a backtrace through deep recursion has no end."""
EXIT_TRAPPED: Final = 134
"""Exit code of a guest that trapped: 128 + SIGABRT, as a shell shows an abort."""

TABLES_MAX: Final = 8
"""Most tables; compilers make one, adapters another."""
INSTANCES_MAX: Final = 32
"""Most core instances in a component: adapters, shims and what was composed."""
MEMORIES_MAX: Final = 4
"""Most memories of a component; each may grow to the job's limit, and the job's group
holds all of them together."""

Ended = tuple[int | None, str | None]
"""An exit code, or None and why there is none."""

Tell = Callable[[int, dict[str, Any]], None]
Descriptors = dict[str, int]


@cache
def engine(*, trusted: bool, parallel: bool = False) -> wasmtime.Engine:
    """Return the engine that both compiles and runs; artefacts fit only this one.

    A trusted module's memory is mapped from its file. A stranger's is loaded when
    this process is confined already, and could only be mapped from a memory file,
    which the confinement denies; so its data are copied.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.memory_init_cow = trusted
    config.parallel_compilation = parallel
    return wasmtime.Engine(config)


@cache
def load(*, trusted: bool = True) -> Linker:
    """Load what every run needs before the guest is known."""
    linker = Linker(engine(trusted=trusted))
    linker.define_wasi()
    return linker


def compile_module(request: dict[str, Any], fds: Descriptors, tell: Tell) -> None:
    """Compile the module on ``source`` to machine code on ``target``.

    The module is a stranger's, so the compiler is confined like a guest.
    """
    maker = engine(trusted=request["trusted"], parallel=request["parallel"])
    with os.fdopen(fds["source"], "rb") as source:
        module_bytes = source.read()
    compiler = _compiler(module_bytes)
    confine.confine(request)
    try:
        compiled = compiler(maker, module_bytes)
    except WasmtimeError as error:
        tell(fds["status"], {"failed": f"module: {_short(error)}"})
        os._exit(1)
    with os.fdopen(fds["target"], "wb") as target:
        target.write(compiled)
    tell(fds["status"], {"exit": 0})
    os._exit(0)


def _compiler(content: bytes) -> Callable[[wasmtime.Engine, bytes], bytes]:
    """Load what compiles such bytes, which the barriers forbid later."""
    if is_component(content):
        from nunet_node.executors.inside import component  # noqa: PLC0415

        return component.compiled
    return lambda maker, module_bytes: bytes(Module(maker, module_bytes).serialize())


def run(request: dict[str, Any], fds: Descriptors, tell: Tell) -> None:
    """Load the compiled module, confine this process, run the guest, and exit."""
    if request["secrets"]:
        secrets.mount(request["secrets_place"], request["secrets"], request["uid"])
    run_it = _guest(request)
    # Opened now: the barriers forbid opening it when the guest has ended.
    own_status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    achieved = confine.confine(request)
    store = _store(request)
    tell(fds["status"], {"started": achieved})
    record = _ending(store, run_it)
    record["fuel"] = FUEL_MAX - store.get_fuel()
    record["peak_kib"] = _peak_kib(own_status)
    tell(fds["status"], record)
    os._exit(record["exit"])


def _guest(request: dict[str, Any]) -> Callable[[Store], Ended]:
    """Load what is compiled; what was a stranger's, only once this is confined.

    The compiler may have been deceived by the module it read, so its work is not even
    opened up while this process can still do harm.
    """
    maker, linker = engine(trusted=request["trusted"]), load(trusted=request["trusted"])
    if request["trusted"]:
        ready = Module.deserialize_file(maker, request["module"])
        return lambda store: _run_module(store, linker, ready)
    with open(request["module"], "rb") as source:  # noqa: PTH123 - start-up time
        compiled = source.read()
    if request["component"]:
        # Imported now: the barriers forbid reading it later.
        from nunet_node.executors.inside import component  # noqa: PLC0415

        return lambda store: component.ending(maker, store, compiled)
    return lambda store: _run_module(store, linker, Module.deserialize(maker, compiled))


def _store(request: dict[str, Any]) -> Store:
    wasi = WasiConfig()
    wasi.argv = request["argv"]
    wasi.env = [(name, value) for name, value in request["env"]]
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for host, guest in request["directories"]:
        wasi.preopen_dir(host, guest)
    store = Store(engine(trusted=request["trusted"]))
    store.set_limits(
        memory_size=request["memory_bytes"],
        table_elements=TABLE_ELEMENTS_MAX,
        instances=INSTANCES_MAX if request["component"] else 1,
        tables=TABLES_MAX,
        memories=MEMORIES_MAX if request["component"] else 1,
    )
    store.set_fuel(FUEL_MAX)
    store.set_wasi(wasi)
    return store


def _run_module(store: Store, linker: Linker, module: Module) -> Ended:
    exports = linker.instantiate(store, module).exports(store)
    if "_start" not in exports:
        return None, "module: it exports no _start"
    try:
        exports["_start"](store)
    except ExitTrap as end:
        return end.code & 0xFF, None
    return 0, None


def _ending(store: Store, run_it: Callable[[Store], Ended]) -> dict[str, Any]:
    try:
        code, why = run_it(store)
    except Trap as trap:
        return {"exit": EXIT_TRAPPED, "reason": f"trap: {_short(trap)}"}
    except WasmtimeError as error:
        return {"exit": EXIT_TRAPPED, "reason": f"module: {_short(error)}"}
    return {"exit": EXIT_TRAPPED, "reason": why} if code is None else {"exit": code}


def _peak_kib(own_status: int) -> int:
    # Not getrusage: its peak counts the memory of the process that spawned this one.
    for line in os.pread(own_status, 8192, 0).splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1])
    return 0


def _short(error: Exception) -> str:
    return str(error).strip()[-BACKTRACE_CHARS_MAX:]
