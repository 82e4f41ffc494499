"""Dialling a peer's bulk door.

Rule: the address is the one at which the peer was reached already, and no other: a
peer may name a port of its own machine, never a machine. Whoever else listens there
learns the name of a spent ticket, and can answer nothing that opens.
"""

import socket
from typing import Final

from nunet_node.network.bulk.channel import Channel, send_all
from nunet_node.network.port import NetworkError

DIAL_S: Final = 5
"""Longest that connecting may take; then streams serve."""


class BulkRefused(NetworkError):  # noqa: N818 - read as a fact: there is no connection
    """There is no bulk connection to this peer; libp2p streams still serve."""

    code = "network.bulk"


def dial(ip: str, port: int, *, name: bytes, key: bytes) -> Channel:
    """Return a bulk connection on which a ticket was shown. Blocks.

    Args:
        ip: the numeric address at which the peer is connected.
        port: what it named.
        name: the ticket.
        key: the ticket's key.

    Raises:
        BulkRefused: nobody is there.
        StreamBroken: whoever is there does not listen.
    """
    try:
        bare = socket.create_connection((ip, port), timeout=DIAL_S)
    except OSError as error:
        raise BulkRefused(f"no bulk connection to {ip} port {port}: {error}") from None
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel = Channel(bare, key, door=False)
    try:
        send_all(bare, name, DIAL_S)
        # An empty record shows that the key is known, too.
        channel.send(b"", within_s=DIAL_S)
    except BaseException:
        channel.close()
        raise
    return channel
