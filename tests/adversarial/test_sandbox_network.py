"""A job that is let reach a domain tries to reach more, or to be a burden."""

import contextlib
import socket

import pytest
import trio
import trio.testing

from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.proxy.gate import CONNECTIONS_MAX
from nunet_node.executors.proxy.request import HEADER_BYTES_MAX
from nunet_node.executors.proxy.traffic import Traffic
from tests.executors_kit import an_order, need, some_executors
from tests.proxy_kit import BODY, PUBLIC, World, a_gate, a_world, request

TUNNEL = request("CONNECT pypi.example:443 HTTP/1.1", "Host: pypi.example:443")
CONNECTED = b"HTTP/1.1 200 connected\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def untouched(world: World) -> bool:
    return not (world.looked_up or world.dialled or world.heard)


@pytest.mark.parametrize(
    "name",
    [
        "other.example",
        "pypi.example.other.example",
        "notpypi.example",
        "data.example",
        "a.data.example.other.example",
        "localhost",
        "metadata.google.internal",
    ],
)
async def test_another_domain_is_refused_before_it_is_looked_up(name: str):
    async with a_world() as world, a_gate(world) as guest:
        plain = await guest.get(f"http://{name}/")
        tunnel = await guest.ask(
            request(f"CONNECT {name}:443 HTTP/1.1", f"Host: {name}:443")
        )
        assert (status(plain), status(tunnel)) == (403, 403)
        assert name.encode() in plain
        assert untouched(world)


async def test_what_the_provider_does_not_lend_is_refused_whatever_the_job_says():
    async with a_world() as world, a_gate(world, lent=("*.data.example",)) as guest:
        assert status(await guest.get("http://pypi.example/")) == 403
        assert untouched(world)
        assert status(await guest.get("http://a.data.example/")) == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "1.1.1.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "pypi.example.",
        "",
    ],
)
async def test_an_address_is_no_name_however_it_is_spelt(host: str):
    asked = ("pypi.example",)
    async with a_world() as world, a_gate(world, asked=asked) as guest:
        plain = await guest.get(f"http://{host}/")
        tunnel = await guest.ask(
            request(f"CONNECT {host}:443 HTTP/1.1", f"Host: {host}:443")
        )
        assert status(plain) in (400, 403)
        assert status(tunnel) in (400, 403)
        assert untouched(world)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:1.1.1.1",
        "64:ff9b::7f00:1",
        "2001::1",
        "2002:7f00:1::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ],
)
async def test_a_name_that_leads_inward_is_not_dialled(address: str):
    names = {"pypi.example": (PUBLIC, address)}
    async with a_world(names=names) as world, a_gate(world) as guest:
        assert status(await guest.get("http://pypi.example/")) == 403
        assert status(await guest.ask(TUNNEL)) == 403
        assert world.dialled == []


@pytest.mark.parametrize(
    ("own", "near"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8", "8.8.8.1"),
        ("2600:1:2:3::4", "2600:1:2:3::4"),
        ("2600:1:2:3::4", "2600:1:2:ff::1"),
    ],
)
async def test_the_provider_and_its_neighbours_are_not_dialled(own: str, near: str):
    names = {"pypi.example": (near,)}
    async with a_world(names=names, own=own) as world, a_gate(world) as guest:
        answer = await guest.get("http://pypi.example/")
        assert status(answer) == 403
        assert b"own network" in answer
        assert world.dialled == []


async def test_a_name_is_looked_up_once_and_what_was_judged_is_dialled():
    class Rebinding(World):
        async def addresses(self, name: str, port: int) -> tuple[str, ...]:
            first = not self.looked_up
            self.looked_up.append(name)
            return (PUBLIC,) if first else ("127.0.0.1",)

    async with a_world() as served:
        world = Rebinding(port=served.port)
        async with a_gate(world) as guest:
            assert status(await guest.get("http://pypi.example/")) == 200
            assert world.looked_up == ["pypi.example"]
            assert world.dialled == [(PUBLIC, 80)]
            # The next connection looks again, and judges again.
            assert status(await guest.get("http://pypi.example/")) == 403
            assert world.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT pypi.example:22 HTTP/1.1",
        "CONNECT pypi.example:80 HTTP/1.1",
        "CONNECT pypi.example HTTP/1.1",
        "CONNECT pypi.example:0443000 HTTP/1.1",
        "GET http://pypi.example:22/ HTTP/1.1",
        "GET http://pypi.example:443/ HTTP/1.1",
        "GET https://pypi.example/ HTTP/1.1",
        "GET ftp://pypi.example/ HTTP/1.1",
        "GET / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ],
)
async def test_no_other_port_and_no_other_scheme_is_reached(line: str):
    host = line.split()[1].removeprefix("http://").partition("/")[0] or "pypi.example"
    async with a_world() as world, a_gate(world) as guest:
        answer = await guest.ask(request(line, f"Host: {host}"))
        assert status(answer) in (400, 403)
        assert untouched(world)


@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://pypi.example/ HTTP/1.1", "Host: other.example"),
        (
            "GET http://pypi.example/ HTTP/1.1",
            "Host: pypi.example",
            "Host: other.example",
        ),
        ("GET http://pypi.example/ HTTP/1.1",),
        ("GET http://pypi.example@other.example/ HTTP/1.1", "Host: pypi.example"),
        ("GET http://other.example@pypi.example/ HTTP/1.1", "Host: pypi.example"),
        ("GET http://pypi.example\\@other.example/ HTTP/1.1", "Host: pypi.example"),
        ("GET http://pypi.example#@other.example/ HTTP/1.1", "Host: pypi.example"),
        ("CONNECT pypi.example:443 HTTP/1.1", "Host: other.example:443"),
        (
            "POST http://pypi.example/ HTTP/1.1",
            "Host: pypi.example",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
        ),
        (
            "POST http://pypi.example/ HTTP/1.1",
            "Host: pypi.example",
            "Content-Length: 5",
            "Content-Length: 6",
        ),
        (
            "POST http://pypi.example/ HTTP/1.1",
            "Host: pypi.example",
            "Transfer-Encoding: gzip, chunked",
        ),
    ],
)
async def test_a_request_that_two_readers_could_read_differently_is_refused(lines):
    async with a_world() as world, a_gate(world) as guest:
        answer = await guest.ask(request(*lines))
        assert status(answer) in (400, 403, 501)
        assert world.heard == []


async def test_what_follows_a_request_never_reaches_the_server():
    smuggled = request("GET http://other.example/ HTTP/1.1", "Host: other.example")
    first = request(
        "POST http://pypi.example/a HTTP/1.1",
        "Host: pypi.example",
        "Content-Length: 2",
        "Connection: keep-alive, x-secret",
        "X-Secret: 1",
    )
    async with a_world() as world, a_gate(world) as guest:
        answer = await guest.ask(first + b"ok" + smuggled)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert BODY in answer
        (heard,) = world.heard
        assert heard.startswith(b"POST /a HTTP/1.1\r\nhost: pypi.example\r\n")
        assert heard.endswith(b"\r\n\r\nok")
        assert b"secret" not in heard.lower()
        assert b"other" not in heard


async def test_a_head_without_end_is_cut_off():
    bomb = request("GET http://pypi.example/ HTTP/1.1", "Host: pypi.example")[:-2]
    fill = b"X-%d: " + b"x" * 4000 + b"\r\n"
    lines = [fill % each for each in range(HEADER_BYTES_MAX // 1000)]
    async with a_world() as world, a_gate(world) as guest:
        await guest.ask(bomb, *lines)
        assert untouched(world)
        assert status(await guest.get("http://pypi.example/")) == 200


async def test_an_answer_with_a_head_without_end_is_cut_off():
    answers = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 8 * HEADER_BYTES_MAX
    async with a_world(answers=answers) as world, a_gate(world) as guest:
        assert len(await guest.get("http://pypi.example/")) < HEADER_BYTES_MAX


async def test_a_request_that_never_ends_is_given_up(autojump_clock):
    async with a_world() as world, a_gate(world) as guest:
        answer = await guest.ask(b"GET http://pypi.example/ HTTP/1.1\r\nHost:")
        assert status(answer) == 408
        assert untouched(world)


async def test_a_tunnel_in_which_nothing_is_said_is_given_up(autojump_clock):
    # The kernel may take its time to deliver what was sent to ourselves.
    autojump_clock.autojump_threshold = 0.2
    async with a_world(echoes=True) as world, a_gate(world) as guest:
        assert status(await guest.ask(TUNNEL)) in (200, 408)
        if world.heard:
            await world.gone.wait()


async def test_a_flood_of_connections_takes_no_more_than_its_places():
    async with a_world(echoes=True) as world, a_gate(world) as guest:
        async with contextlib.AsyncExitStack() as held:
            for _ in range(CONNECTIONS_MAX):
                stream = await held.enter_async_context(await guest.dial())
                await stream.send_all(TUNNEL)
                assert (await stream.receive_some()).startswith(CONNECTED)
            more = [await guest.dial() for _ in range(2 * CONNECTIONS_MAX)]
            for stream in more:
                await stream.send_all(TUNNEL)
                held.push_async_callback(trio.aclose_forcefully, stream)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(world.dialled) == CONNECTIONS_MAX
        assert status(await guest.get("http://other.example/")) == 403


@pytest.mark.parametrize("way", ["received", "sent"])
async def test_a_job_that_has_carried_its_share_carries_no_more(way: str):
    traffic = Traffic(**{f"{way}_bytes_max": 100_000})
    async with (
        a_world(echoes=True) as world,
        a_gate(world, traffic=traffic) as guest,
    ):
        with trio.fail_after(30):
            await guest.ask(TUNNEL, *[b"x" * 10_000] * 100)
        (heard,) = world.heard
        assert len(heard) <= 200_000
        refused = await guest.get("http://pypi.example/")
        assert status(refused) == 403
        assert way.encode() in refused
        assert len(world.heard) == 1


async def test_nonsense_in_place_of_http_harms_nobody():
    async with a_world() as world, a_gate(world) as guest:
        for nonsense in (b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 20_000, b"\x00" * 99):
            assert status(await guest.ask(nonsense + b"\r\n\r\n")) in (0, 400)
        assert untouched(world)
        assert status(await guest.get("http://pypi.example/")) == 200


async def test_a_server_that_breaks_the_rules_harms_only_its_own_answer():
    async with a_world() as world, a_gate(world) as guest:
        for answers in (b"nonsense\r\n\r\n", b"HTTP/1.1 101 Go\r\n\r\n", b""):
            world.answers = answers
            await guest.get("http://pypi.example/")
        world.answers = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"
        assert b"cut" in await guest.get("http://pypi.example/")
        assert BODY not in await guest.get("http://other.example/")


TRIES = """
import os, socket, sys

def reached(label, attempt):
    try:
        print(label, "REACHED", attempt(), flush=True)
    except OSError as error:
        print(label, "failed", flush=True)

def direct(address, port):
    with socket.create_connection((address, port), 2) as stream:
        return stream.getpeername()

def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("1.1.1.1", 53))
        return asking.send(b"?")

def abstract():
    with socket.socket(socket.AF_UNIX) as stream:
        return stream.connect("\\0" + sys.argv[2])

def upgrade():
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)

port = int(sys.argv[1])
reached("host", lambda: direct("127.0.0.1", port))
reached("world", lambda: direct("1.1.1.1", 80))
reached("six", lambda: direct("2606:4700:4700::1111", 80))
reached("datagram", datagram)
reached("abstract", abstract)
reached("packet", upgrade)
reached("dns", lambda: socket.getaddrinfo("pypi.example", 80))
print(sorted(os.listdir("/proc/self/fd")))
with socket.create_connection(("127.0.0.1", 3128)) as proxy:
    proxy.sendall(b"GET http://" + sys.argv[3].encode() + b"/ HTTP/1.0\\r\\n\\r\\n")
    print(proxy.makefile("rb").read())
"""


async def test_a_sandbox_with_a_gate_has_no_other_way_out(tmp_path):
    await need("process")
    with trio.socket.socket(trio.socket.AF_UNIX) as abstract:
        await abstract.bind(f"\0{tmp_path}")
        abstract.listen(1)
        async with a_world() as world, reaching(world) as executors:
            words = (str(world.port), str(tmp_path), "pypi.example")
            said = await run(executors, *words)
    lines = said.splitlines()
    assert [line.split()[1] for line in lines[:7]] == ["failed"] * 7, said
    assert lines[7] == "['0', '1', '2', '3']", said
    assert BODY.strip().decode() in lines[8]
    assert len(world.heard) == 1


async def test_the_gate_of_one_job_is_no_way_for_another():
    """Both listen at the same place, each in a network of its own."""
    await need("process")
    async with a_world() as world, reaching(world) as executors:
        said = {}

        async def one(mine: str, wanted: str) -> None:
            words = (str(world.port), "none", wanted)
            said[mine] = await run(executors, *words, domains=(mine,))

        async with trio.open_nursery() as both:
            both.start_soon(one, "pypi.example", "a.data.example")
            both.start_soon(one, "a.data.example", "pypi.example")
    assert all(" 403 " in text for text in said.values()), said
    assert untouched(world)


async def test_a_cancelled_job_lets_go_of_what_it_reached():
    await need("process")
    script = (
        "exec 3<>/dev/tcp/127.0.0.1/3128; "
        "printf 'CONNECT pypi.example:443 HTTP/1.0\\r\\n\\r\\nhere' >&3; sleep 60"
    )
    order = an_order("process", "bash", "-c", script, domains=("pypi.example",))
    async with a_world(echoes=True) as world, reaching(world) as executors:
        job_dir = await executors.open_job("job", 1)
        async with trio.open_nursery() as running:
            running.start_soon(executors.run, order, job_dir)
            await world.came.wait()
            running.cancel_scope.cancel()
        await world.gone.wait()
        await executors.remove(job_dir)
    assert world.heard == [b"here"]


async def test_a_job_whose_way_out_cannot_be_handed_over_is_not_run():
    """Or it would stand in a network that nobody left."""
    await need("process")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        order = an_order("process", "touch", "ran", domains=("pypi.example",))
        with socket.socket() as door:
            end = await executors._run(order, job_dir, None, None, door.fileno())
        assert end.exit_code is None
        assert "not started" in (end.reason or "")
        assert not (job_dir.path / "ran").exists()
        await executors.remove(job_dir)


@contextlib.asynccontextmanager
async def reaching(world: World):
    async with some_executors() as usual:
        yield LocalExecutors(
            usual._scratch,
            usual._scratch.parent / "cache",
            lent=("pypi.example", "*.data.example"),
            outside=world,
        )


async def run(executors, *words: str, domains=("pypi.example",)) -> str:
    job_dir = await executors.open_job("job", 1)
    try:
        job_dir.add_file("main.py", TRIES.encode())
        order = an_order("process", "python3", "main.py", *words, domains=domains)
        end = await executors.run(order, job_dir)
        assert end.exit_code == 0, job_dir.stderr_path.read_text()
        return job_dir.stdout_path.read_text()
    finally:
        await executors.remove(job_dir)
