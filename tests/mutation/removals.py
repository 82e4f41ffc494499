"""How each remedy for py-libp2p is taken out of a copy of the tree, as edits of text.

Rule: an edit takes out one remedy and nothing else, and its old text stands exactly
once in its file, so that none of them can come to mean nothing. Where the library's own
part can take over, it does; where ours replaces it whole, the edit brings its fault back.
"""

from dataclasses import dataclass
from typing import Final

ROOM: Final = "nunet_node/network/"


@dataclass(frozen=True, slots=True)
class Edit:
    """One piece of text in one file of the network room, and what comes in its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Removal:
    """The edits that leave one trap open."""

    trap: str
    edits: tuple[Edit, ...]


def _of(trap: str, *edits: Edit) -> Removal:
    return Removal(trap, edits)


def _renamed(file: str, method: str) -> Edit:
    """Leave a method of the library's class as the library has it."""
    return Edit(file, f"def {method}(self", f"def _ours_{method}(self")


def _uncalled(remedy: str) -> Edit:
    return Edit("libp2p/remedies.py", f"    {remedy}()\n", "")


_NO_SURVIVOR = Edit(
    "libp2p/remedies.py",
    'async_fn = _survivor(async_fn, again=bool(kwargs.get("daemon")))',
    "pass",
)

_LIBRARY_DIALS = Edit(
    "host.py",
    "        causes = []\n        for place in places:\n",
    """\
        from libp2p.peer.peerinfo import PeerInfo

        known = [Multiaddr(str(place)) for place in places]
        try:
            await self._inner.connect(PeerInfo(ID.from_string(peer_id), known))
        except SwarmException as error:
            raise ConnectFailed(root_cause(error)) from None
        causes = []
        for place in places:
""",
)

REMOVALS: Final = (
    _of("P1", Edit("libp2p/gossip.py", "except DecodeError:", "except MisuseError:")),
    _of(
        "P2",
        Edit(
            "libp2p/gossip.py",
            "            return False\n        except Exception:",
            "            return False\n        except MisuseError:",
        ),
    ),
    _of("P3", _renamed("libp2p/gossip.py", "push_msg")),
    _of("P4", _uncalled("widen_rpc_queues")),
    _of("P5", _NO_SURVIVOR),
    _of(
        "P5",
        Edit(
            "libp2p/remedies.py",
            "manager = SafeManager(service)",
            "manager = TrioManager(service)",
        ),
    ),
    _of(
        "P6",
        Edit(
            "libp2p/gossip.py",
            "spam_protection_enabled=False",
            "spam_protection_enabled=True",
        ),
    ),
    _of("P7", Edit("libp2p/gossip.py", "        heartbeat_interval=1,\n", "")),
    _of("P8", Edit("libp2p/gossip.py", "        self.counter = time.time_ns()\n", "")),
    _of("P9", _renamed("libp2p/gossip.py", "_do_px")),
    _of(
        "P10",
        Edit(
            "libp2p/gossip.py",
            "        self.recent_message_deliveries: Any ="
            " defaultdict(lambda: deque(maxlen=1))\n",
            "",
        ),
    ),
    _of("H1", _renamed("libp2p/swarm.py", "set_stream_handler")),
    _of(
        "C1",
        Edit(
            "libp2p/connection.py",
            "trio.CancelScope(shield=True, deadline=now_s + limit_s)",
            "trio.CancelScope(deadline=now_s + limit_s)",
        ),
    ),
    _of(
        "C2", Edit("libp2p/substream.py", "CREDIT_S: Final = 60", "CREDIT_S: Final = 5")
    ),
    _of(
        "C3",
        Edit(
            "libp2p/connection.py",
            "self._patience.deadline = trio.current_time() + CLOSE_S",
            "self._patience.deadline = trio.current_time() + 20",
        ),
        Edit(
            "libp2p/connection.py",
            "trio.CancelScope(shield=True), trio.move_on_after(CLOSE_S)",
            "trio.CancelScope(shield=True), trio.move_on_after(20)",
        ),
    ),
    _of("C4", _uncalled("close_at_once")),
    _of(
        "X1",
        Edit(
            "libp2p/swarm.py",
            "TransportUpgrader({NOISE: noise}, {})",
            'TransportUpgrader({NOISE: noise, "/plaintext/2.0.0":'
            ' __import__("libp2p.security.insecure.transport", fromlist=["_"])'
            ".InsecureTransport(keys)}, {})",
        ),
    ),
    _of(
        "S1",
        Edit(
            "host.py",
            "        stack.push_async_callback(host._close)"
            "  # noqa: SLF001 - closing is ours alone\n",
            "        stack.callback(nursery.cancel_scope.cancel)\n",
        ),
    ),
    _of(
        "S1",
        Edit(
            "host.py",
            "        stack.push_async_callback(host._close)"
            "  # noqa: SLF001 - closing is ours alone\n",
            "        stack.callback(nursery.cancel_scope.cancel)\n",
        ),
        Edit(
            "libp2p/connection.py",
            "            with trio.CancelScope(shield=True):\n"
            "                await self._end()\n\n    async def close",
            "            pass\n\n    async def close",
        ),
    ),
    _of("S2", _renamed("libp2p/swarm.py", "_handle_inbound_connection")),
    _of(
        "Y1",
        Edit(
            "libp2p/substream.py",
            "return self._grantable_bytes >= 0",
            "return True",
        ),
    ),
    _of(
        "Y2",
        Edit(
            "libp2p/connection.py",
            "if self._count(ours=False) >= STREAMS_MAX:",
            "if False:",
        ),
    ),
    _of(
        "Y3",
        Edit(
            "libp2p/substream.py",
            "            if self._broken:\n"
            "                raise MuxedStreamReset(self._broken)",
            "            if self._broken:\n"
            "                raise MuxedStreamEOF(self._broken)",
        ),
    ),
    _of(
        "Y4",
        Edit(
            "libp2p/connection.py",
            'stream.break_off("the connection was lost", keep=True)',
            'stream.break_off("the connection was lost")',
        ),
    ),
    _of("W1", _uncalled("allow_pieces")),
    _of(
        "W2",
        Edit(
            "libp2p/substream.py",
            "if self._consumed_bytes * 2 < self._window_bytes or self.ended:",
            "if self.ended:",
        ),
    ),
    _of("D1", _LIBRARY_DIALS),
    _of("D2", _LIBRARY_DIALS),
    _of("D4", _LIBRARY_DIALS),
    _of("A1", _renamed("libp2p/swarm.py", "_schedule_identify")),
    _of(
        "A1",
        Edit(
            "libp2p/swarm.py", "        self.auto_connector = _NoAutoConnector()\n", ""
        ),
    ),
    _of("R1", _uncalled("own_the_port")),
    _of("L1", _uncalled("tame_logging")),
    _of(
        "N1",
        Edit(
            "libp2p/connection.py",
            "                nursery.start_soon(keep_alive, self)\n",
            "",
        ),
    ),
    _of(
        "N3",
        Edit(
            "libp2p/swarm.py",
            "        if not self._may_enter(source):\n            return\n",
            "",
        ),
    ),
    _of("N3", _renamed("libp2p/swarm.py", "_handle_inbound_connection")),
    _of(
        "N4",
        Edit(
            "stream.py",
            "        async with self._writing:\n"
            "            # Half a frame would make every later byte",
            "        if True:\n            # Half a frame would make every later byte",
        ),
    ),
)
"""At least one for each trap; where a remedy has two parts, each is taken out."""
