"""A peer has what it gives, and nothing that it only says it has."""

import pytest
import trio

from nunet_node.runtime.exchange.public.asking import gives
from nunet_node.runtime.exchange.requests import Block, No
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record
from tests.runtime_kit import linked_hosts

PROTOCOL = "/nunet/blocks/1"
DATA = b"a manifest"
CID = Cid.of_dag_cbor(DATA)


@pytest.mark.parametrize(
    ("said", "has"),
    [
        (encode_record(No()), False),
        (DATA, True),
        (b"a nonsense", False),
    ],
)
async def test_only_the_right_bytes_count(said, has):
    async def answer(stream):
        await stream.receive()
        if len(said) == len(DATA):
            await stream.send(encode_record(Block(size_bytes=len(said))))
            await stream.send_raw(said)
        else:
            await stream.send(said)

    async with linked_hosts() as (server, client):
        server.serve(PROTOCOL, answer)
        with trio.fail_after(10):
            assert await gives(client, server.peer_id, CID) is has
