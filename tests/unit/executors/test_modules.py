import hashlib
from pathlib import Path

import pytest
import trio
from wasmtime import wat2wasm

from nunet_node.executors import modules
from nunet_node.executors.modules import ModuleCache, ModuleError, find_python
from tests.executors_kit import an_order, attempt, need, some_executors

SMALL = bytes(
    wat2wasm('(module (memory (export "memory") 1) (func (export "_start")))')
)
EXIT_7 = bytes(
    wat2wasm("""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (i32.const 7))))""")
)
TRAP = bytes(
    wat2wasm(
        '(module (memory (export "memory") 1) (func (export "_start") unreachable))'
    )
)
WRITES_ITS_DATA = bytes(
    wat2wasm(r"""(module
      (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\10\00\00\00\05\00\00\00")
      (data (i32.const 16) "data\n")
      (func (export "_start")
        (drop (call $write
          (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""")
)
SPIN = bytes(
    wat2wasm(
        '(module (memory (export "memory") 1)'
        ' (func (export "_start") (loop $again (br $again))))'
    )
)


async def cache_in(folder: Path) -> ModuleCache:
    await need("wasm")
    return ModuleCache(folder / "cache", folder)


async def test_a_module_is_compiled_once_and_found_again():
    async with some_executors() as executors:
        cache = await cache_in(executors._scratch)
        first = await cache.user_module(SMALL, 60)
        made = first.stat().st_ino
        assert await cache.user_module(SMALL, 60) == first
        assert first.stat().st_ino == made


async def test_two_that_want_one_module_at_once_compile_it_once():
    async with some_executors() as executors:
        caches = [await cache_in(executors._scratch) for _ in range(3)]
        places: list[tuple[Path, int]] = []

        async def one(cache: ModuleCache) -> None:
            place = await cache.user_module(SMALL, 60)
            places.append((place, place.stat().st_ino))

        async with trio.open_nursery() as nursery:
            for cache in caches:
                nursery.start_soon(one, cache)
        assert len(set(places)) == 1


async def test_a_module_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(modules, "MODULE_BYTES_MAX", len(SMALL) - 1)
    async with some_executors() as executors:
        cache = await cache_in(executors._scratch)
        with pytest.raises(ModuleError, match="exceeds"):
            await cache.user_module(SMALL, 60)


async def test_what_does_not_compile_leaves_nothing_behind():
    async with some_executors() as executors:
        cache = await cache_in(executors._scratch)
        with pytest.raises(ModuleError, match="compiling failed"):
            await cache.user_module(b"\0asm\1\0\0\0garbage", 60)
        left = {path.suffix for path in (executors._scratch / "cache").iterdir()}
        assert left <= {".lock"}
        assert not list(executors._scratch.glob("job-*"))


async def test_the_longest_unused_module_goes_when_the_cache_is_full(
    monkeypatch: pytest.MonkeyPatch,
):
    async with some_executors() as executors:
        cache = await cache_in(executors._scratch)
        first = await cache.user_module(SMALL, 60)
        monkeypatch.setattr(modules, "CACHE_BYTES_MAX", 2 * first.stat().st_size - 1)
        second = await cache.user_module(TRAP, 60)
        assert not first.exists()
        assert second.exists()


def test_python_is_found_by_its_hash_alone():
    found = find_python()
    if found is None:
        pytest.skip("CPython for WASI is not installed")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == modules.PYTHON_SHA256


async def test_a_module_chooses_its_exit_code():
    ran = await attempt(an_order("wasm", "m.wasm"), {"m.wasm": EXIT_7})
    assert (ran.end.exit_code, ran.end.reason) == (7, None)


async def test_a_module_with_data_in_its_memory_finds_it_there():
    ran = await attempt(an_order("wasm", "m.wasm"), {"m.wasm": WRITES_ITS_DATA})
    assert (ran.end.exit_code, ran.stdout) == (0, b"data\n")


async def test_a_trap_is_exit_code_134_with_its_reason():
    ran = await attempt(an_order("wasm", "m.wasm"), {"m.wasm": TRAP})
    assert ran.end.exit_code == 134
    assert "unreachable" in (ran.end.reason or "")


async def test_a_module_that_spins_meets_the_wall_clock():
    ran = await attempt(an_order("wasm", "m.wasm", wall_s=1), {"m.wasm": SPIN})
    assert ran.end.limit == "wall"


async def test_fuel_is_the_same_for_the_same_run():
    order = an_order("wasm", "m.wasm")
    first = await attempt(order, {"m.wasm": EXIT_7})
    again = await attempt(order, {"m.wasm": EXIT_7})
    assert first.end.usage.fuel == again.end.usage.fuel > 0


async def test_a_module_that_takes_too_long_to_compile_is_refused():
    async with some_executors() as executors:
        cache = await cache_in(executors._scratch)
        with pytest.raises(ModuleError, match="wall"):
            await cache.user_module(SMALL, 0)
