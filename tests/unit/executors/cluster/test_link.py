"""Two ends of a link: what one says the other hears, and silence is an end."""

import io
import os

import pytest
import trio
import trio.testing

from nunet_node.executors.cluster.link import (
    BEAT_S,
    PIECE_BYTES_MAX,
    SILENCE_S,
    Beat,
    Ended,
    Examined,
    File,
    Go,
    Hello,
    Left,
    Link,
    LinkLostError,
    Piece,
    Work,
    Wrote,
)
from nunet_node.executors.collect import OutputsRefused, Skipped
from nunet_node.executors.port import Capability, Finding, RunEnd, RunOrder, Usage
from nunet_node.wire.framing import frame

ORDER = RunOrder(
    job="j",
    engine="process",
    argv=("sh", "-c", "true"),
    env=(("A", "b"),),
    cpu_millis=1,
    memory_bytes=2,
    disk_bytes=3,
    wall_s=4,
    output_bytes_max=5,
    log_bytes_max=6,
    outputs=("out",),
)
END = RunEnd(
    exit_code=-1, limit="wall", reason="late", usage=Usage(cpu_ms=3), isolation="bwrap"
)
FOUND = Capability(
    engine="wasm",
    isolation="wasm",
    ready=True,
    detail="ran",
    findings=(Finding(barrier="network", held=True),),
)


@pytest.fixture
def ends():
    one, other = trio.testing.memory_stream_pair()
    return Link(one), Link(other)


@pytest.mark.parametrize(
    "word",
    [
        Hello(token=b"t" * 32, machine="n1"),
        Work(order=ORDER),
        Go(),
        Wrote(stream="stderr", data=b"x" * PIECE_BYTES_MAX),
        Ended(end=END),
        Left(skipped=(Skipped(path="a", reason="link"),), skipped_more=2),
        Left(refused=OutputsRefused(limit="files_max", allowed=3)),
        Examined(capabilities=(FOUND,), architecture="x86_64", disk_bytes=5),
    ],
    ids=lambda word: type(word).__name__,
)
async def test_every_word_is_heard_as_it_was_said(ends, word):
    one, other = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send, word)
        assert await other.receive() == word


async def test_a_beat_is_life_and_no_word(ends):
    one, other = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send, Beat())
        nursery.start_soon(one.send, Beat())
        nursery.start_soon(one.send, Go())
        assert await other.receive() == Go()


async def test_silence_is_an_end(ends, autojump_clock):
    began = trio.current_time()
    with pytest.raises(LinkLostError, match="nothing was heard"):
        await ends[1].receive()
    assert trio.current_time() - began == SILENCE_S


async def test_beats_keep_a_link_alive(ends, autojump_clock):
    one, other = ends
    async with one.beating():
        with trio.move_on_after(10 * SILENCE_S) as scope:
            await other.receive()
        assert scope.cancelled_caught
    assert BEAT_S * 3 < SILENCE_S


async def test_an_end_that_closes_is_an_end(ends):
    one, other = ends
    await one.aclose()
    assert one.closed.is_set()
    with pytest.raises(LinkLostError):
        await other.receive()
    with pytest.raises(LinkLostError):
        await other.send(Go())


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", frame(b"nonsense"), frame(b"\xa1dkindenever")],
    ids=["length", "bytes", "kind"],
)
async def test_nonsense_is_an_end(data):
    raw, other = trio.testing.memory_stream_pair()
    link = Link(other)
    await raw.send_all(data)
    with pytest.raises(LinkLostError):
        await link.receive()


async def test_what_goes_wrong_while_a_link_beats_is_raised_alone(ends):
    with pytest.raises(LinkLostError, match="by itself"):
        async with ends[0].beating():
            raise LinkLostError("by itself")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES_MAX, 3 * PIECE_BYTES_MAX + 7])
async def test_a_file_comes_as_it_was(ends, tmp_path, size):
    one, other = ends
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    target = io.BytesIO()
    async with trio.open_nursery() as nursery:
        descriptor = os.open(path, os.O_RDONLY)
        nursery.start_soon(_send, one, descriptor)
        head = await other.receive()
        assert head == File(path="a/b", size_bytes=size, executable=True)
        await other.receive_file(head, target)
    assert target.getvalue() == path.read_bytes()


@pytest.mark.parametrize(
    "word", [Piece(data=b"12345"), Piece(data=b""), Go()], ids=["more", "none", "other"]
)
async def test_a_file_that_comes_otherwise_than_announced_is_an_end(ends, word):
    one, other = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send, word)
        with pytest.raises(LinkLostError):
            await other.receive_file(File(path="a", size_bytes=4), io.BytesIO())


async def _send(link, descriptor):
    await link.send_file("a/b", descriptor, executable=True)
