"""What an engine sends is taken apart within bounds."""

from contextlib import aclosing

import pytest
import trio

from nunet_node.executors.container.api import FRAME_BYTES_MAX, frames, open_api
from nunet_node.executors.port import EngineError


async def pieces(*parts: bytes):
    for part in parts:
        yield part


async def taken(*parts: bytes):
    async with aclosing(pieces(*parts)) as cut, aclosing(frames(cut)) as found:
        return [each async for each in found]


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


async def test_two_streams_come_out_of_one_however_it_is_cut():
    whole = frame(1, b"out") + frame(2, b"") + frame(2, b"err\n")
    expected = [("stdout", b"out"), ("stderr", b""), ("stderr", b"err\n")]
    for cut in range(len(whole)):
        assert await taken(whole[:cut], whole[cut:]) == expected


async def test_what_is_cut_off_is_not_shown():
    assert await taken(frame(1, b"whole")[:-1]) == []


@pytest.mark.parametrize(
    "head",
    [
        b"\x07\0\0\0\0\0\0\x01x",
        b"\x01\0\0\0" + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        b"plain text, not frames",
    ],
)
async def test_what_is_no_frame_ends_the_run(head: bytes):
    with pytest.raises(EngineError, match="frames"):
        await taken(head)


ASKED = {
    "info": lambda api: api.info(),
    "version": lambda api: api.is_podman(),
    "image": lambda api: api.image_id("a:1"),
    "create": lambda api: api.create({}),
    "inspect": lambda api: api.inspect("c"),
    "wait": lambda api: api.wait("c"),
    "labelled": lambda api: api.labelled("l=1"),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("content", [b"", b"[1, [2]]", b"\xff"])
async def test_an_engine_that_answers_strangely_is_an_answer(tmp_path, asked, content):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)

    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(head + content)

    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "engine.sock"))
    listener.listen()
    async with trio.open_nursery() as nursery:
        listeners = [trio.SocketListener(listener)]
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        with pytest.raises(EngineError, match="strangely"):
            async with open_api(tmp_path / "engine.sock") as api:
                await asked(api)
        nursery.cancel_scope.cancel()


async def test_an_engine_that_is_not_there_is_an_answer(tmp_path):
    with pytest.raises(EngineError, match="does not answer"):
        async with open_api(tmp_path / "nobody.sock") as api:
            await api.info()
