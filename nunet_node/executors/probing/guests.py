"""The guests that try to break out, one for each engine.

Rule: a guest says of each barrier that it was ``held`` or ``broken``; what it does not
speak of counts as broken. It harms nothing if it gets through: it opens, and never
writes, what is not its own. What it aims at surely exists: the log file beside its
own directory, a listener of the node, the node's own namespaces.
"""

from typing import Final

from nunet_node.executors.port import Barrier

PROCESS: Final = r"""
outside=$1 port=$2 net=$3 pid=$4
told() { if [ -z "$2" ]; then echo "held $1"; else echo "broken $1: $2"; fi; }

why=
[ "$(readlink /proc/self/ns/net)" = "$net" ] && why="it is in the host's network"
bash -c ": <>/dev/tcp/127.0.0.1/$port" && why="it reached a port of the host"
told network "$why"

why=
for file in "$outside" /etc/shadow /root; do
  [ -r "$file" ] && why="it can read $file"
done
for folder in / /usr /etc /dev; do
  [ -w "$folder" ] && why="it can write $folder"
done
told "host files" "$why"

why=
[ "$(readlink /proc/self/ns/pid)" = "$pid" ] && why="it sees the host's processes"
set -- /proc/[0-9]*
[ $# -gt 8 ] && why="it sees $# processes"
told "host processes" "$why"

why=
[ -w /proc/sys/kernel/core_pattern ] && why="it can change the kernel's settings"
grep -q '^CapEff:[^1-9a-f]*$' /proc/self/status || why="it has capabilities"
grep -q '^NoNewPrivs:.1' /proc/self/status || why="it can gain privileges"
command -v unshare >/dev/null || why="unshare is not here to be tried"
unshare --user true && why="it can make itself root of a namespace"
told privileges "$why"
"""
"""Shell: works wherever there is a ``/bin/sh``; its errors are of no interest."""

PROCESS_MEMORY: Final = "x=$(head -c 256M /dev/zero | tr '\\0' x); echo ${#x}"
PROCESS_DISK: Final = "head -c 8M /dev/zero > big"
PROCESS_LOG: Final = "head -c 1M /dev/zero"
PROCESS_FORKS: Final = """
i=0
while [ $i -lt {tries} ]; do echo $i; sleep 5 & i=$((i+1)); done
echo all
"""
PROCESS_WALL: Final = "trap '' TERM; sleep 60"

PYTHON: Final = """
import os, sys

def told(barrier, why):
    print(f"broken {barrier}: {why}" if why else f"held {barrier}", flush=True)

def reached(attempt):
    try:
        return attempt()
    except Exception:
        return ""

def opened(path):
    with open(path, "rb"):
        return f"it can read {path}"

def connected():
    import socket
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2)
    return "it reached a port of the host"

def forked():
    os.kill(os.getpid(), 0)
    return "it can signal processes"

def allocated():
    return f"it got {len(bytearray(int(sys.argv[3])))} bytes"

def written():
    with open("big", "wb") as big:
        big.write(bytes(int(sys.argv[4])))
        big.flush()
    return "it wrote more than its disk"

told("network", reached(connected))
places = ("../stdout", sys.argv[1], "/etc/passwd", "/proc/1/environ")
told("host files", "".join(reached(lambda: opened(place)) for place in places))
told("host processes", reached(forked))
told("memory", reached(allocated))
told("disk", reached(written))
"""

PYTHON_WALL: Final = "import time\ntime.sleep(60)\n"
PYTHON_LOG: Final = "while True: print('x' * 8192)\n"

WASM_BARRIERS: Final[tuple[Barrier, ...]] = ("host files", "network", "memory")
"""What the bits of the digit that the module prints stand for, lowest first."""

WASM: Final = b"""
(module
  (import "wasi_snapshot_preview1" "path_open" (func $path_open
    (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write
    (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept
    (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "../stdout")
  (data (i32.const 32) "../../../../../../../../etc/passwd")
  (data (i32.const 80) "/etc/passwd")
  (data (i32.const 96) "big")
  (data (i32.const 112) "\\00\\00\\00\\00\\00\\00\\01\\00")
  (data (i32.const 144) "\\8c\\00\\00\\00\\01\\00\\00\\00")
  (func $readable (param $fd i32) (param $at i32) (param $length i32) (result i32)
    (i32.eqz (call $path_open (local.get $fd) (i32.const 1) (local.get $at)
      (local.get $length) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0)
      (i32.const 128))))
  (func (export "_start") (local $broken i32) (local $fd i32) (local $wrote i32)
    (loop $each
      (if (i32.or (call $readable (local.get $fd) (i32.const 0) (i32.const 9))
          (i32.or (call $readable (local.get $fd) (i32.const 32) (i32.const 34))
                  (call $readable (local.get $fd) (i32.const 80) (i32.const 11))))
        (then (local.set $broken (i32.or (local.get $broken) (i32.const 1)))))
      (if (i32.eqz (call $sock_accept (local.get $fd) (i32.const 4) (i32.const 136)))
        (then (local.set $broken (i32.or (local.get $broken) (i32.const 2)))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $each (i32.lt_u (local.get $fd) (i32.const 12))))
    (if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1))
      (then (local.set $broken (i32.or (local.get $broken) (i32.const 4)))))
    (i32.store8 (i32.const 140)
      (i32.add (i32.const 48) (local.get $broken)))
    (drop (call $fd_write (i32.const 1) (i32.const 144) (i32.const 1)
      (i32.const 152)))
    (if (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 96)
        (i32.const 3) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0)
        (i32.const 128)))
      (then
        (local.set $fd (i32.load (i32.const 128)))
        (loop $more
          (if (i32.eqz (call $fd_write (local.get $fd) (i32.const 112) (i32.const 1)
              (i32.const 120)))
            (then
              (local.set $wrote (i32.add (local.get $wrote) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $wrote) (i32.const 128)))
              (call $proc_exit (i32.const 8))))))))
)
"""
"""The text of a module; compiled here like any other, on which the limits lie."""

WASM_WALL: Final = b"""
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $for_ever (br $for_ever))))
"""
