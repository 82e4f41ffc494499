"""Only the runner with the ticket meets its provider, and only once."""

import base64
from contextlib import AsyncExitStack

import msgspec
import pytest
import trio

from nunet_node.executors.cluster.link import Examine, Go, LinkLostError
from nunet_node.executors.cluster.port import ClusterError
from nunet_node.executors.cluster.rendezvous import (
    dial,
    new_identity,
    open_rendezvous,
    read_ticket,
)


@pytest.fixture
async def rendezvous():
    async with open_rendezvous("127.0.0.1", 0) as opened:
        yield opened


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


async def dialled(stack, ticket):
    link = await dial(ticket, "n1")
    stack.push_async_callback(link.aclose)
    return link


async def test_a_runner_with_its_ticket_meets_its_provider(rendezvous, stack):
    async with rendezvous.expecting() as meeting:
        theirs = await dialled(stack, read_ticket(meeting.ticket))
        ours = await meeting.arrived()
        assert ours.machine == "n1"
        await ours.send(Examine())
        assert await theirs.receive() == Examine()
        await theirs.send(Go())
        assert await ours.receive() == Go()
    with pytest.raises(LinkLostError):
        await theirs.receive()


async def test_two_runners_meet_each_who_expects_them(rendezvous, stack):
    async with rendezvous.expecting() as one, rendezvous.expecting() as other:
        await dialled(stack, read_ticket(other.ticket))
        await other.arrived()
        assert one.link is None


async def refused(stack, ticket):
    link = await dialled(stack, ticket)
    with pytest.raises(LinkLostError):
        await link.receive()


async def test_a_ticket_admits_once(rendezvous, stack):
    async with rendezvous.expecting() as meeting:
        await dialled(stack, read_ticket(meeting.ticket))
        await meeting.arrived()
        await refused(stack, read_ticket(meeting.ticket))


async def test_a_ticket_is_void_when_nobody_expects_its_runner(rendezvous, stack):
    async with rendezvous.expecting() as meeting:
        ticket = read_ticket(meeting.ticket)
    await refused(stack, ticket)


async def test_a_token_of_somebody_else_is_refused(rendezvous, stack):
    async with rendezvous.expecting() as meeting:
        forged = msgspec.structs.replace(
            read_ticket(meeting.ticket), token=base64.b64encode(bytes(32)).decode()
        )
        await refused(stack, forged)
        assert meeting.link is None


async def test_a_runner_believes_no_provider_but_its_own(rendezvous):
    other = base64.b64encode(new_identity().certificate).decode()
    async with rendezvous.expecting() as meeting:
        ticket = read_ticket(meeting.ticket)
        with pytest.raises(LinkLostError):
            await dial(msgspec.structs.replace(ticket, certificate=other), "n1")
        assert meeting.link is None


async def test_a_stranger_who_speaks_something_else_is_sent_away(rendezvous):
    async with await trio.open_tcp_stream("127.0.0.1", rendezvous.port) as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        while await stream.receive_some():
            pass
    async with rendezvous.expecting() as meeting:
        link = await dial(read_ticket(meeting.ticket), "n1")
        await meeting.arrived()
        await link.aclose()


async def test_a_provider_that_is_gone_is_not_waited_for():
    async with open_rendezvous("127.0.0.1", 0) as gone, gone.expecting() as meeting:
        ticket = read_ticket(meeting.ticket)
    with pytest.raises(LinkLostError):
        await dial(ticket, "n1")


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"host": "h", "port": 0}'])
def test_what_is_no_ticket_is_refused(text):
    with pytest.raises(ClusterError):
        read_ticket(text)


async def test_a_ticket_with_no_certificate_in_it_is_refused(rendezvous):
    async with rendezvous.expecting() as meeting:
        ticket = read_ticket(meeting.ticket)
        for nonsense in ("!", "AAAA"):
            forged = msgspec.structs.replace(ticket, certificate=nonsense)
            with pytest.raises(ClusterError):
                await dial(forged, "n1")


async def test_a_port_that_is_taken_is_told(rendezvous):
    with pytest.raises(ClusterError, match="cannot listen"):
        async with open_rendezvous("127.0.0.1", rendezvous.port):
            pass
