"""A job's logs, wherever they stand: with its provider, in its result, or in a chain.

Rule: what comes out of a chain was checked link by link before it is shown, and at the
end against what the provider signed; logs that were changed, cut off or mixed up end in
an error, never in silence.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from nunet_node.client.asking import Questions, check_receipt
from nunet_node.client.errors import (
    ClientError,
    LogsCutOffError,
    ProviderUnreachableError,
    UnknownJobError,
)
from nunet_node.errors import PeerError
from nunet_node.jobs.statements import LogReceipt, Receipt
from nunet_node.network.port import NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.effects import LogsGranted
from nunet_node.protocol.inputs import LogsWanted
from nunet_node.protocol.messages import LOGS
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import LogCopyGranted
from nunet_node.results.errors import LogTamperedError
from nunet_node.results.layout import STDERR, STDOUT
from nunet_node.results.logs.chain import (
    RECORD_BYTES_MAX,
    LogBytes,
    LogChain,
    LogHead,
    LogHeader,
    written_at_s,
)
from nunet_node.runtime.exchange.logs import Follow
from nunet_node.runtime.peer import Peer
from nunet_node.runtime.wallet.reading import open_chain, seal_of
from nunet_node.wire.schema import decode_record

STUCK_MAX: Final = 2
"""Breaks in a row without a byte between them before reading logs is given up."""

Pieces = AsyncGenerator[tuple[str, bytes], None]

OnCopy = Callable[[LogCopyGranted], None]

_log = logging.getLogger("nunet_node.client.logs")


def _ignore(_copy: LogCopyGranted) -> None:
    """Stand in for whoever does not ask where logs come from."""


@dataclass(slots=True, eq=False)
class LogReader:
    """Reads the logs of one job; ``on_copy`` hears of each copy that is read."""

    peer: Peer
    order: Order
    questions: Questions
    on_copy: OnCopy = _ignore

    async def pieces(self, asked: Follow) -> Pieces:
        """Yield (stream, bytes) of the newest attempt's logs.

        After a break it goes on where it was: with the provider if that answers, else
        at whoever has a copy.

        Args:
            asked: from where on, and whether to wait for more; the attempt does not
                matter.

        Raises:
            PeerError: as `JobHandle.logs`.
        """
        stuck, before = 0, asked
        while True:
            try:
                asked, found = await self._source(asked)
                before = asked
                async with aclosing(found):
                    async for name, data in found:
                        asked = _further(asked, name, len(data))
                        yield name, data
            except (NetworkError, StreamBroken):
                stuck = stuck + 1 if asked == before else 0
                if stuck == STUCK_MAX:
                    raise
            else:
                return

    async def _source(self, asked: Follow) -> tuple[Follow, Pieces]:
        """Return what yields the logs, and from where on it does."""
        try:
            granted = await self.granted()
        except (ProviderUnreachableError, UnknownJobError) as error:
            copies = await self._copies()
            if copies:
                return asked, self._in_copies(copies, asked, error)
            if self.order.result is None:
                raise
            attempt = max(1, self.order.attempt)
            asked = msgspec.structs.replace(asked, attempt=attempt)
            return asked, self.in_result(asked)
        asked = msgspec.structs.replace(asked, attempt=granted.attempt)
        asked = await self._begun(granted, asked)
        follow = self.peer.transfers.follow_logs
        return asked, follow(granted.peer_id, asked, self._rest)

    async def granted(self) -> LogsGranted:
        """Return the provider's leave to follow the logs.

        Raises:
            ClientError: it does not answer, or has no such job for us.
        """
        wish = LogsWanted(job=self.order.job)
        return await self.questions.ask(wish, LOGS, LogsGranted)

    async def _copies(self) -> Sequence[LogCopyGranted]:
        """Return who has a copy, unless the job asked for none."""
        spec = self.order.spec
        if spec is not None and not spec.replicas:
            return ()
        return await self.questions.log_copies()

    async def _in_copies(
        self, copies: Sequence[LogCopyGranted], asked: Follow, why: ClientError
    ) -> Pieces:
        """Yield what the fullest copy has; if it fails, the next one."""
        for number, copy in enumerate(copies, start=1):
            self.on_copy(copy)
            try:
                async with aclosing(self._in_copy(copy, asked)) as pieces:
                    async for piece in pieces:
                        yield piece
            except (ClientError, LogTamperedError):
                raise
            except PeerError as error:
                if number == len(copies):
                    raise
                _log.warning("the logs at %s: %s", copy.holder, error)
                continue
            said = copy.receipt
            if isinstance(said, LogReceipt) and not said.ended:
                raise LogsCutOffError(
                    f"{why}; {copy.holder} has its logs up to {said.at_s} (unix time), "
                    "and what was written later is missing"
                )
            return

    async def _in_copy(self, copy: LogCopyGranted, asked: Follow) -> Pieces:
        said = copy.receipt
        asked = msgspec.structs.replace(asked, attempt=said.attempt)
        if isinstance(said, Receipt):
            check_receipt(self.order, said)
            pieces = self._of_result(copy.peer_id, said, asked)
        else:
            head = LogHead(links=said.links, digest=said.digest)
            records = self.peer.transfers.log_copy(copy.peer_id, said.root)
            pieces = self._in_chain(records, head, asked)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def in_result(self, asked: Follow) -> Pieces:
        """Yield what a sealed result, or a copy of it, has of the logs."""
        granted = await self.questions.read(lambda _where: None)
        check_receipt(self.order, granted.receipt)
        pieces = self._of_result(granted.peer_id, granted.receipt, asked)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    def _of_result(self, peer_id: str, receipt: Receipt, asked: Follow) -> Pieces:
        seal = seal_of(receipt, self.peer.users, self.peer.holdings)
        if seal is None:
            raise ClientError(f"{self.order.job}: its provider did not seal the result")
        return self.peer.transfers.result_logs(peer_id, receipt.result, seal, asked)

    async def _begun(self, granted: LogsGranted, asked: Follow) -> Follow:
        """Return what to ask for once it is known where a moment was."""
        if not asked.since_s:
            return asked
        begin = await self.peer.transfers.logs_since(granted.peer_id, asked)
        return msgspec.structs.replace(
            asked,
            since_s=0,
            stdout_from=max(asked.stdout_from, begin.stdout_from),
            stderr_from=max(asked.stderr_from, begin.stderr_from),
        )

    async def _rest(self, asked: Follow) -> Pieces:
        # What is signed of the logs is known since the job has ended.
        granted = await self.granted()
        if granted.head is None:
            found = self.in_result(asked)
        else:
            records = self.peer.transfers.log_chain(granted.peer_id, asked)
            found = self._in_chain(records, granted.head, asked)
        async with aclosing(found):
            async for piece in found:
                yield piece

    async def _in_chain(
        self, records: AsyncGenerator[bytes, None], head: LogHead, asked: Follow
    ) -> Pieces:
        chain: LogChain | None = None
        async with aclosing(records):
            async for record in records:
                if chain is None:
                    chain = self._opened(record, asked)
                    continue
                if chain.links == head.links:
                    raise LogTamperedError("there are more logs than were signed")
                ends = (chain.stdout_end, chain.stderr_end)
                said = chain.take(record)
                if written_at_s(record) >= asked.since_s:
                    for piece in _beyond(asked, ends, said):
                        yield piece
        if chain is None:
            raise LogTamperedError("the provider signed logs, and has none")
        chain.check_head(head)

    def _opened(self, record: bytes, asked: Follow) -> LogChain:
        header = decode_record(LogHeader, record, bytes_max=RECORD_BYTES_MAX)
        wanted = (asked.job, asked.attempt)
        if (header.job, header.attempt) != wanted or self.order.owner not in (
            None,
            header.owner,
        ):
            raise LogTamperedError("these are the logs of something else")
        return open_chain(header, self.peer.users)


def _further(asked: Follow, stream: str, size_bytes: int) -> Follow:
    """Return what to ask for once so much more of a stream has come."""
    name = "stdout_from" if stream == STDOUT else "stderr_from"
    return msgspec.structs.replace(asked, **{name: getattr(asked, name) + size_bytes})


def _beyond(
    asked: Follow, ends: tuple[int, int], said: LogBytes
) -> tuple[tuple[str, bytes], ...]:
    """Return what a link holds beyond the offsets that are asked for."""
    out = said.stdout[max(0, asked.stdout_from - ends[0]) :]
    err = said.stderr[max(0, asked.stderr_from - ends[1]) :]
    return tuple((name, data) for name, data in ((STDOUT, out), (STDERR, err)) if data)
