"""The node's memory: which journal a fact belongs in, and reading it back.

Rule: a provider's facts stand in one journal, the orders of the home's users in
another that every process of the home may extend; so a command works beside a
running node, and reads no more than the orders it is about. Facts that another
process wrote are told apart from our own by their sequence numbers.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from nunet_node.errors import MisuseError
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.facts import (
    FACT_BYTES_MAX,
    NODE_STREAM,
    Fact,
    NoticeKept,
    OrderFact,
    ProviderFact,
    is_repeatable,
    stream_of,
)
from nunet_node.protocol.order import Order, apply_order
from nunet_node.quantities import INT53_MAX
from nunet_node.runtime.home import Home
from nunet_node.storage.journal import Journal
from nunet_node.storage.journal.ballast import Ballast
from nunet_node.wire.schema import decode_record, encode_record

PROBE_BYTES: Final = 1 << 20
"""What must fit on the disk before a full one counts as writable again: as much as
the largest fact."""


ROOM_BYTES_MIN: Final = 16 << 20
"""Free room below which no new work is taken: results of jobs that run still fit, and
what is said of them. Work is taken again at twice that, so as not to sway."""


class Ledger:
    """Both journals of one process. One thread appends; others may read meanwhile."""

    def __init__(self, provider: Journal | None, orders: Journal, home: Path) -> None:
        self._provider = provider
        self._orders = orders
        self._home = home
        self._seen: dict[str, int] = {}
        self._own: dict[str, set[int]] = {}
        self._turn = threading.Lock()
        self._ballast = Ballast(home / "ballast") if provider is not None else None
        if self._ballast is not None:
            self._ballast.hold()

    @classmethod
    def open(cls, home: Home, *, provides: bool) -> Self:
        """Open the journals of a home.

        Args:
            home: where they are.
            provides: whether this process is the home's node.

        Raises:
            PeerError: a journal is damaged, too new, or cannot be written.
        """
        provider = Journal.open(home.ledger) if provides else None
        try:
            return cls(provider, Journal.open(home.orders), home.path)
        except BaseException:
            if provider is not None:
                provider.close()
            raise

    def append(self, facts: Sequence[Fact]) -> None:
        """Record facts durably, one transaction for each journal.

        Facts that can be had again alone are written without waiting for the disk.

        Raises:
            LedgerUnwritableError: the disk is full, read-only or failing.
            MisuseError: a provider's fact in a process that does not provide.
        """
        entries = [(stream_of(fact), encode_record(fact)) for fact in facts]
        node = [entry for entry in entries if entry[0] == NODE_STREAM]
        orders = [entry for entry in entries if entry[0] != NODE_STREAM]
        if node:
            if self._provider is None:
                raise MisuseError("only a node that provides has a provider's facts")
            self._provider.append(node)
        if orders:
            with self._turn:
                durable = not all(map(is_repeatable, facts))
                last = self._orders.append(orders, durable=durable)
                first = last - len(orders) + 1
                for seq, (stream, _) in enumerate(orders, first):
                    self._own.setdefault(stream, set()).add(seq)

    def provider_facts(self) -> Iterator[ProviderFact]:
        """Yield everything that this home's node ever promised, in order."""
        if self._provider is not None:
            for _, _, data in self._provider.read(NODE_STREAM):
                yield decode_record(ProviderFact, data, bytes_max=FACT_BYTES_MAX)

    def order_names(self) -> tuple[JobId, ...]:
        """Return the jobs of every order of this home."""
        return tuple(JobId(name) for name in self._orders.streams())

    def news_of(self, job: JobId) -> tuple[OrderFact, ...]:
        """Return the order's facts that were not returned here before, nor ours.

        The first call for an order returns all of it.
        """
        with self._turn:
            own = self._own.pop(job, set())
            facts: list[OrderFact] = []
            for seq, _, data in self._orders.read(job, self._seen.get(job, 0)):
                self._seen[job] = seq
                if seq not in own:
                    facts.append(_order_fact(data))
            return tuple(facts)

    def forget(self, job: JobId) -> None:
        """Take all of an ended order as read, and keep no account of who wrote it."""
        last = self._orders.last(job)
        with self._turn:
            self._own.pop(job, None)
            self._seen[job] = last

    def others(self) -> int:
        """Return a number that changes whenever another process adds to an order."""
        return self._orders.others()

    def last_of(self, job: JobId) -> int:
        """Return a number that grows whenever the order's record does."""
        return self._orders.last(job)

    def relieve(self) -> bool:
        """Give up the room that was kept for a full disk; tell whether there was any.

        What ends jobs can be recorded then, although nothing new is begun.
        """
        return self._ballast is not None and self._ballast.let_go()

    def has_room(self) -> bool:
        """Tell whether the disk has room for new work."""
        return _free_bytes(self._home) >= ROOM_BYTES_MIN

    def is_writable(self) -> bool:
        """Tell whether the disk has room again and takes new data, by trying."""
        if self._ballast is not None:
            if _free_bytes(self._home) < 2 * ROOM_BYTES_MIN:
                return False
            if not self._ballast.hold():
                return False
        try:
            file = os.open(self._home, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            written = os.write(file, bytes(PROBE_BYTES))
            os.fsync(file)
        except OSError:
            return False
        finally:
            os.close(file)
        return written == PROBE_BYTES

    def close(self) -> None:
        """Close both journals."""
        if self._provider is not None:
            self._provider.close()
        self._orders.close()


def read_orders(home: Home) -> dict[JobId, Order]:
    """Return every order of a home as its record stands now.

    Raises:
        PeerError: the journal is damaged or too new.
    """
    orders: dict[JobId, Order] = {}
    if not home.orders.exists():
        return orders
    with Journal.open(home.orders) as journal:
        for _, _, data in journal.read():
            fact = _order_fact(data)
            before = orders.get(fact.job)
            if is_newer(before, fact):
                orders[fact.job] = apply_order(before, fact)
    return orders


def is_newer(order: Order | None, fact: OrderFact) -> bool:
    """Tell whether a fact adds to an order.

    Two processes of a home may both have heard a notice; it counts once.
    """
    if order is None or order.notice is None or not isinstance(fact, NoticeKept):
        return True
    known, heard = order.notice, fact.notice
    return (heard.attempt, heard.sequence) > (known.attempt, known.sequence)


def _order_fact(data: bytes) -> OrderFact:
    fact: OrderFact = decode_record(OrderFact, data, bytes_max=FACT_BYTES_MAX)
    return fact


def _free_bytes(path: Path) -> int:
    try:
        seen = os.statvfs(path)
    except OSError:
        # A disk that cannot be asked is found out by the next that is written.
        return INT53_MAX
    return seen.f_bavail * seen.f_frsize
