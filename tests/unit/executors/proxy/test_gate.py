"""What an honest job fetches through its gate, and what is kept of it."""

from dataclasses import replace

import pytest
import trio

from nunet_node.executors.proxy.traffic import RATE_BYTES_S, Carried, Traffic
from nunet_node.quantities import Reached
from tests.executors_kit import an_order, need, some_executors
from tests.proxy_kit import BODY, PUBLIC, a_gate, a_world, request, told

TUNNEL = request("CONNECT pypi.example:443 HTTP/1.0")


async def test_a_page_comes_as_the_server_gave_it():
    async with a_world() as world, a_gate(world) as guest:
        answer = await guest.get("http://PyPI.example:80/simple?a=b")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(BODY)
        (heard,) = world.heard
        assert heard.split(b"\r\n")[:-2] == [
            b"GET /simple?a=b HTTP/1.1",
            b"host: pypi.example",
            b"connection: close",
        ]
        assert world.dialled == [(PUBLIC, 80)]


async def test_a_body_goes_out_as_it_was_framed():
    async with a_world() as world, a_gate(world) as guest:
        head = request(
            "PUT http://pypi.example/a HTTP/1.1",
            "Host: pypi.example",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
        )
        answer = await guest.ask(head, b"5\r\nhello\r\n", b"0\r\n\r\n")
        assert BODY in answer
        assert b"transfer-encoding: chunked" in world.heard[0]
        assert b"hello" in world.heard[0]


async def test_an_answer_without_a_length_ends_with_its_connection():
    answers = b"HTTP/1.0 200 OK\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n" + BODY
    async with a_world(answers=answers) as world, a_gate(world) as guest:
        answer = await guest.get("http://pypi.example/")
        assert BODY in answer
        assert b"x-own" not in answer.lower()


async def test_a_tunnel_carries_whatever_is_said_both_ways():
    async with a_world(echoes=True) as world, a_gate(world) as guest:
        stream = await guest.dial()
        await stream.send_all(TUNNEL + b"early")
        said = b""
        while not said.endswith(b"early"):
            said += bytes(await stream.receive_some())
        await stream.send_all(b"x" * 300_000)
        await stream.send_eof()
        assert len(await told(stream)) == 300_000
        assert world.dialled == [(PUBLIC, 443)]
        assert guest.gate.reached() == (
            Reached(
                domain="pypi.example",
                connections=1,
                sent_bytes=300_005,
                received_bytes=300_005,
            ),
        )


async def test_what_was_reached_is_told_in_the_order_of_the_rules():
    async with a_world() as world, a_gate(world) as guest:
        await guest.get("http://a.data.example/")
        await guest.get("http://pypi.example/")
        await guest.get("http://other.example/")
        told_of = [(each.domain, each.connections) for each in guest.gate.reached()]
        assert told_of == [("pypi.example", 1), ("*.data.example", 1)]


@pytest.mark.parametrize("names", [{}, {"pypi.example": ()}])
async def test_a_name_without_an_address_is_told(names):
    async with a_world(names=names) as world, a_gate(world) as guest:
        answer = await guest.get("http://pypi.example/")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"pypi.example is not reached" in answer


async def test_the_next_address_is_tried_where_one_does_not_answer():
    async with a_world(names={"pypi.example": ("1.0.0.1", PUBLIC)}) as world:
        dial = world.dial

        async def picky(address, port):
            if address != PUBLIC:
                raise ConnectionRefusedError("nobody is there")
            return await dial(address, port)

        async with a_gate(_With(world, dial=picky)) as guest:
            assert BODY in await guest.get("http://pypi.example/")


class _With:
    def __init__(self, world, *, dial):
        self.addresses, self.source, self.dial = world.addresses, world.source, dial


async def test_the_pace_is_that_of_the_job_and_not_of_a_connection(autojump_clock):
    traffic = Traffic()
    lines = [traffic.opened("a.example"), traffic.opened("b.example")]

    async def carry(line: Carried) -> None:
        for _ in range(10):
            await traffic.carried(line, received=RATE_BYTES_S // 10)

    began_s = trio.current_time()
    async with trio.open_nursery() as both:
        for line in lines:
            both.start_soon(carry, line)
    assert round(trio.current_time() - began_s) == 2


FETCH = """
import urllib.request
with urllib.request.urlopen("http://pypi.example/file") as page, open("got", "wb") as f:
    f.write(page.read())
try:
    urllib.request.urlopen("https://other.example/file")
except OSError as error:
    print(error)
"""


async def test_a_job_downloads_with_the_usual_programs_and_is_told_what_is_refused():
    await need("process")
    async with a_world() as world, some_executors() as executors:
        order = an_order("process", "python3", "main.py", domains=("pypi.example",))
        job_dir = await executors.open_job("job", 1)
        job_dir.add_file("main.py", FETCH.encode())
        end = await executors.run_reaching(
            order, job_dir, lent=("*.example", "pypi.example"), outside=world
        )
        said = job_dir.stdout_path.read_text()
        assert end.exit_code == 0, job_dir.stderr_path.read_text()
        assert (job_dir.path / "got").read_bytes() == BODY
        assert "other.example is not among the domains of this job" in said
        assert [each.connections for each in end.reached] == [1]
        await executors.remove(job_dir)


@pytest.mark.parametrize("engine", ["wasm", "python", "container"])
async def test_no_other_engine_is_given_a_way_out(engine):
    async with some_executors() as executors:
        order = replace(an_order(engine, "a"), domains=("pypi.example",))
        job_dir = await executors.open_job("job", 1)
        end = await executors.run(order, job_dir)
        assert end.exit_code is None
        assert "only a process" in (end.reason or "")
        await executors.remove(job_dir)
