"""Sessions: dialled, spoken over, and ended by either side or by the network."""

from collections.abc import Callable, Sequence
from typing import Final

from nunet_node.errors import PeerError
from nunet_node.identity.keys import Signer
from nunet_node.identity.statement import Statement, seal
from nunet_node.market.offers import BID, Bid
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import Frame, Invoke, Stated
from nunet_node.protocol.sessions import FRESH_TTL_S, NONCE_BYTES
from nunet_node.simulator.medium.links import (
    CONNECT_ROUND_TRIPS,
    DIAL_NS,
    STREAM_ROUND_TRIPS,
    Paths,
)
from nunet_node.simulator.medium.reading import Reader
from nunet_node.simulator.medium.trickle import Trickle
from nunet_node.simulator.medium.whereabouts import Whereabouts
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.keys import Nonces
from nunet_node.simulator.world.machine import Link, Machine
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record

FRAME_OVERHEAD_BYTES: Final = 80
"""Noise, yamux, TCP and IP around one frame."""

START_S: Final = 1_700_000_000
"""Unix time at which every run begins."""

NS_PER_S: Final = 1_000_000_000

JOINING_NS: Final = 3 * NS_PER_S
"""Until then a machine that has booted is still dialling its neighbours."""

Give = Callable[[Machine, ins.Input], None]


def unix_s(machine: Machine, now_ns: int) -> int:
    """Return what the machine's wall clock shows."""
    return START_S + machine.offset_s + now_ns // NS_PER_S


class Wires:
    """Every session, and what is on its way."""

    def __init__(
        self,
        agenda: Agenda,
        paths: Paths,
        reader: Reader,
        peers: Whereabouts,
        give: Give,
    ) -> None:
        self._agenda = agenda
        self._paths = paths
        self._reader = reader
        self._peers = peers
        peers.are_connected = self._are_connected
        self._give = give
        self.frames = 0
        self.frame_bytes = 0
        self.dials = 0
        self.dialled: dict[int, set[int]] = {}
        """Who has dialled whom: a peer behind a NAT is reached over its own dials."""
        self.slow = Trickle(agenda, paths, self._was_read)
        self._unanswered: set[tuple[int, int, ins.SessionId]] = set()
        """Dials of peers whose process is stopped: who, at which boot, and which."""
        self.neighbours: Sequence[Sequence[int]] = ()
        """With whom each machine is connected for the sake of gossip."""

    def open(self, machine: Machine, effect: fx.OpenSession) -> None:
        """Open a stream, over a new connection if there is none."""
        self.dials += 1
        other = self._peers.of(machine, effect.peer_id, effect.addresses)
        about = (machine, machine.boot, effect)
        if other is None or other.gone or not self._paths.joined(machine, other):
            self._agenda.after(DIAL_NS, self._failed, about)
            return
        round_ns = self._paths.delay_ns(machine, other)
        round_ns += self._paths.delay_ns(other, machine)
        rounds = STREAM_ROUND_TRIPS
        if not self._are_connected(machine, other):
            rounds += CONNECT_ROUND_TRIPS
        if other.traits.unreachable and machine.index not in self.dialled.get(
            other.index, ()
        ):
            self._agenda.after(DIAL_NS, self._failed, about)
            return
        after_ns = rounds * round_ns
        if rounds > STREAM_ROUND_TRIPS:
            after_ns += self._handled_ns(self._paths.links.connect_us, machine)
        self._agenda.after(after_ns, self._opened, (*about, other))

    def send(self, machine: Machine, effect: fx.Send) -> None:
        """Send a frame, behind those that were sent before it."""
        link = machine.sessions.get(effect.session)
        if link is None or not link.open:
            return
        if machine.traits.equivocates:
            self._say_otherwise(machine, link, effect.data)
        self._post(machine, link, effect.data)
        if machine.traits.replays and _is_command(effect.data):
            self._post(machine, link, effect.data)

    def close(self, machine: Machine, effect: fx.CloseSession) -> None:
        """End a session from one side, when all that was sent has arrived."""
        link = machine.sessions.get(effect.session)
        if link is not None:
            other, _ = link.other(machine)
            self.end(link, machine, 0)
            self.end(link, other, self._paths.delay_ns(machine, other))

    def end(self, link: Link, machine: Machine, after_ns: int) -> None:
        """Tell one side, in so long, that the session is gone."""
        at_ns = self._agenda.now_ns + after_ns
        side = int(machine is link.dialler)
        self._agenda.at(max(at_ns, link.free_ns[side]), self._ended, (link, machine))

    def break_links(self, machine: Machine, *, silent: bool) -> list[Machine]:
        """End all sessions of a machine that died; return who hears of it.

        Args:
            machine: the one that died; it hears nothing.
            silent: no end reaches anybody: they notice when it does not answer.
        """
        told = dict[int, Machine]()
        for link in list(machine.sessions.values()):
            other, _ = link.other(machine)
            after_ns = self._paths.notice_ns() if silent else 0
            self.end(link, other, after_ns + self._paths.delay_ns(machine, other))
            told[other.index] = other
        machine.sessions.clear()
        self.dialled.pop(machine.index, None)
        for others in self.dialled.values():
            others.discard(machine.index)
        return list(told.values())

    def break_paths(self, machines: list[Machine]) -> None:
        """End the sessions that a partition cuts, as soon as that is noticed."""
        for machine in machines:
            for link in list(machine.sessions.values()):
                if link.dialler is machine:
                    self._agenda.after(self._paths.notice_ns(), self._cut, link)

    def forsake(self, machine: Machine, other: Machine) -> None:
        """End all between two machines, one of which gave the other up."""
        self._hung_up(machine, other)
        for link in list(other.sessions.values()):
            if machine in (link.dialler, link.listener):
                self.end(link, other, 0)
                self.end(link, machine, 0)

    def _hung_up(self, one: Machine, other: Machine) -> None:
        self.dialled.get(one.index, set()).discard(other.index)
        self.dialled.get(other.index, set()).discard(one.index)

    def _are_connected(self, machine: Machine, other: Machine) -> bool:
        """Tell whether either has dialled the other since both are up."""
        if other.index in self.dialled.get(machine.index, ()):
            return True
        if machine.index in self.dialled.get(other.index, ()):
            return True
        settled_ns = self._agenda.now_ns - JOINING_NS
        near = other.index in self.neighbours[machine.index]
        return near and max(machine.booted_ns, other.booted_ns) < settled_ns

    def _cut(self, link: Link) -> None:
        if link.open and not self._paths.joined(link.dialler, link.listener):
            self._hung_up(link.dialler, link.listener)
            self.end(link, link.dialler, 0)
            self.end(link, link.listener, 0)

    def _failed(self, about: tuple[Machine, int, fx.OpenSession]) -> None:
        machine, boot, effect = about
        if machine.up and machine.boot == boot:
            failed = ins.SessionFailed(
                session=effect.session,
                peer_id=effect.peer_id,
                reason="could not be reached",
            )
            self._give(machine, failed)

    def _opened(self, about: tuple[Machine, int, fx.OpenSession, Machine]) -> None:
        machine, boot, effect, other = about
        if machine.stalls(self._opened, about):
            return
        if not machine.up or machine.boot != boot:
            return
        if other.stalled is not None:
            self._wait_for_answer((machine, boot, effect, other))
            return
        if not other.up or not self._paths.joined(machine, other):
            self._failed((machine, boot, effect))
            return
        link = Link(
            dialler=machine,
            listener=other,
            ours=effect.session,
            theirs=other.next_inbound,
            boots=(boot, other.boot),
        )
        other.next_inbound += 2
        self.dialled.setdefault(machine.index, set()).add(other.index)
        machine.sessions[link.ours] = link
        other.sessions[link.theirs] = link
        opened = ins.SessionOpened(
            session=link.theirs, peer_id=machine.peer_id, ours=False
        )
        self._give(other, opened)
        ours = ins.SessionOpened(session=link.ours, peer_id=other.peer_id, ours=True)
        if link.alive(machine):
            self._give(machine, ours)

    def _wait_for_answer(
        self, about: tuple[Machine, int, fx.OpenSession, Machine]
    ) -> None:
        """Let a dial wait for a stopped process: its system took the connection."""
        machine, boot, effect, other = about
        self._unanswered.add((machine.index, boot, effect.session))
        other.stalls(self._answered, about)
        self._agenda.after(DIAL_NS, self._unheard, (machine, boot, effect))

    def _answered(self, about: tuple[Machine, int, fx.OpenSession, Machine]) -> None:
        machine, boot, effect, _ = about
        dial = (machine.index, boot, effect.session)
        if dial in self._unanswered:
            self._unanswered.remove(dial)
            self._opened(about)

    def _unheard(self, about: tuple[Machine, int, fx.OpenSession]) -> None:
        machine, boot, effect = about
        dial = (machine.index, boot, effect.session)
        if dial in self._unanswered:
            self._unanswered.remove(dial)
            self._failed(about)

    def _post(self, machine: Machine, link: Link, data: bytes) -> None:
        other, _ = link.other(machine)
        given_up_ns = self.slow.overflows(link, other, len(data))
        if given_up_ns is not None:
            link.open = False
            for end in (machine, other):
                self._agenda.after(given_up_ns, self._ended, (link, end))
            return
        self.frames += 1
        self.frame_bytes += len(data) + FRAME_OVERHEAD_BYTES
        side = int(machine is link.listener)
        after_ns = self._paths.frame_ns(machine, other, len(data))
        blocked = self._paths.cuts and not self._paths.passes(machine, other)
        if after_ns is None or blocked:
            # What is lost in a stream may not be passed by what comes later, so
            # nothing more arrives even if the path is mended before they notice.
            link.open = False
            self.end(link, machine, self._paths.notice_ns())
            self.end(link, other, self._paths.notice_ns())
            return
        after_ns += self._handled_ns(self._paths.links.frame_us, other)
        arrives_ns = max(link.free_ns[side], self._agenda.now_ns + after_ns)
        link.free_ns[side] = arrives_ns
        self._agenda.at(arrives_ns, self._arrived, (link, other, data))

    def _handled_ns(self, cost_us: int, machine: Machine) -> int:
        return self._paths.handled_ns(self._agenda.now_ns, cost_us, machine)

    def _arrived(self, about: tuple[Link, Machine, bytes]) -> None:
        link, machine, _ = about
        if machine.stalls(self._arrived, about):
            return
        if link.has(machine) and not self.slow.takes(about):
            self._was_read(about)

    def _was_read(self, about: tuple[Link, Machine, bytes]) -> None:
        link, machine, data = about
        if not link.has(machine):
            return
        session = link.theirs if machine is link.listener else link.ours
        try:
            given = self._reader.frame(
                session,
                data,
                unix_s(machine, self._agenda.now_ns),
                machine.audiences,
                machine.did,
            )
        except PeerError:
            self.close(machine, fx.CloseSession(session=session))
            return
        self._give(machine, given)

    def _ended(self, about: tuple[Link, Machine]) -> None:
        link, machine = about
        link.open = False
        if machine.stalls(self._ended, about):
            return
        session = link.theirs if machine is link.listener else link.ours
        if link.has(machine):
            del machine.sessions[session]
            self._give(machine, ins.SessionClosed(session=session))

    def _say_otherwise(self, machine: Machine, link: Link, data: bytes) -> None:
        """Say a bid at half its price first: one node, two bids for one call."""
        frame = decode_record(Frame, data, bytes_max=FRAME_BYTES_MAX)
        body = frame.body
        if not isinstance(body, Stated) or body.statement_kind != BID:
            return
        other, _ = link.other(machine)
        now_s = unix_s(machine, self._agenda.now_ns)
        read = self._reader.frame(0, data, now_s, {other.did}, other.did)
        said = getattr(read, "body", None)
        if not isinstance(said, Statement) or not isinstance(said.payload, Bid):
            return
        lower = _lower_bid(machine.key, said.payload, other, now_s)
        twin = Frame(
            id=frame.id, re=frame.re, body=Stated(statement_kind=BID, data=lower)
        )
        self._post(machine, link, encode_record(twin))


def _lower_bid(key: Signer, signed: Bid, other: Machine, now_s: int) -> bytes:
    lower = Bid(
        call=signed.call,
        price_micro_ntx=signed.price_micro_ntx // 2,
        isolation=signed.isolation,
    )
    return seal(
        lower,
        kind=BID,
        signer=key,
        audience=other.did,
        now_s=now_s,
        ttl_s=FRESH_TTL_S,
        nonce=Nonces(f"twin:{key.did}:{now_s}")(NONCE_BYTES),
    )


def _is_command(data: bytes) -> bool:
    frame = decode_record(Frame, data, bytes_max=FRAME_BYTES_MAX)
    return isinstance(frame.body, Invoke)
