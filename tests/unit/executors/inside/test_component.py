"""Components of WASI 0.2 run like modules: in the same box, to an end of their own."""

import pytest
from wasmtime import wat2wasm

from tests.executors_kit import an_order, attempt

SAYS_A_LINE = r"""(component
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $error))
    (export "output-stream" (type $output (sub resource)))
    (type $owned (own $error))
    (type $failure (variant (case "last-operation-failed" $owned) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $output))
    (export "output-stream" (type $o (eq $output)))
    (export "get-stdout" (func (result (own $o))))))
  (core module $memory (memory (export "memory") 1) (data (i32.const 64) "component\n"))
  (core instance $mem (instantiate $memory))
  (alias core export $mem "memory" (core memory $m))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $m)))
  (core module $main
    (import "" "get" (func $get (result i32)))
    (import "" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $write (call $get) (i32.const 64) (i32.const 10) (i32.const 0))
      (i32.const 0)))
  (core instance $i (instantiate $main
    (with "" (instance (export "get" (func $get)) (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))"""


def command(body: str) -> bytes:
    """Return a component whose command is this core function."""
    return bytes(
        wat2wasm(f"""(component
          (core module $main (memory 1) (func (export "run") (result i32) {body}))
          (core instance $i (instantiate $main))
          (func $run (result (result)) (canon lift (core func $i "run")))
          (instance $cli (export "run" (func $run)))
          (export "wasi:cli/run@0.2.3" (instance $cli)))""")
    )


LIBRARY = bytes(wat2wasm("(component)"))
GROWS = """(loop $again
  (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (i32.ne (memory.size) (i32.const 257))"""


async def run(content: bytes, **order: int):
    return await attempt(an_order("wasm", "c.wasm", **order), {"c.wasm": content})


async def test_a_component_says_what_it_has_to_say():
    ran = await run(bytes(wat2wasm(SAYS_A_LINE)))
    assert (ran.end.exit_code, ran.stdout) == (0, b"component\n")
    assert ran.end.isolation.startswith("wasm+")
    assert ran.end.usage.fuel > 0


@pytest.mark.parametrize("code", [0, 1])
async def test_its_end_is_ok_or_an_error(code: int):
    ran = await run(command(f"(i32.const {code})"))
    assert ran.end.exit_code == code


async def test_a_component_that_traps_says_so():
    ran = await run(command("unreachable"))
    assert ran.end.exit_code == 134
    assert "unreachable" in (ran.end.reason or "")


async def test_a_component_that_never_ends_is_ended():
    ran = await run(command("(loop $again (br $again)) (i32.const 0)"), wall_s=1)
    assert ran.end.limit == "wall"


async def test_its_memory_ends_at_the_limit():
    ran = await run(command(GROWS), memory_bytes=16 << 20)
    assert ran.end.exit_code in (0, 1)
    assert ran.end.usage.memory_peak_bytes < 400 << 20


async def test_a_component_that_is_no_command_is_refused_with_the_reason():
    ran = await run(LIBRARY)
    assert ran.end.exit_code == 134
    assert "exports no wasi:cli/run" in (ran.end.reason or "")


async def test_a_component_that_wants_what_nobody_has_is_refused():
    wants = b'(component (import "some:where/else@1.0.0" (instance)))'
    ran = await run(bytes(wat2wasm(wants.decode())))
    assert ran.end.exit_code != 0


async def test_what_only_begins_like_a_component_is_not_compiled():
    ran = await run(b"\0asm\x0d\x00\x01\x00garbage")
    assert ran.end.exit_code is None
    assert "compiling failed" in (ran.end.reason or "")


async def test_a_compiled_component_is_found_again():
    content = command("(i32.const 0)")
    for _ in range(2):
        assert (await run(content)).end.exit_code == 0
