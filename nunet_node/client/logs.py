"""A job's logs, wherever they stand: with its provider, in its result, or in a chain.

Rule: what comes out of a chain was checked link by link before it is shown, and at the
end against what the provider signed; logs that were changed, cut off or mixed up end in
an error, never in silence.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from nunet_node.client.asking import Questions
from nunet_node.client.errors import (
    ClientError,
    ProviderUnreachableError,
    UnknownJobError,
)
from nunet_node.protocol.effects import LogsGranted
from nunet_node.protocol.inputs import LogsWanted
from nunet_node.protocol.messages import LOGS
from nunet_node.protocol.order import Order
from nunet_node.results.errors import LogTamperedError
from nunet_node.results.layout import STDERR, STDOUT
from nunet_node.results.logs.chain import (
    RECORD_BYTES_MAX,
    LogBytes,
    LogChain,
    LogHead,
    LogHeader,
)
from nunet_node.runtime.exchange.logs import Follow
from nunet_node.runtime.peer import Peer
from nunet_node.runtime.wallet.reading import open_chain, seal_of
from nunet_node.wire.schema import decode_record

Pieces = AsyncGenerator[tuple[str, bytes], None]


@dataclass(slots=True, eq=False)
class LogReader:
    """Reads the logs of one job."""

    peer: Peer
    order: Order
    questions: Questions

    async def pieces(self, asked: Follow) -> Pieces:
        """Yield (stream, bytes) of the newest attempt's logs.

        Args:
            asked: from where on, and whether to wait for more; the attempt does not
                matter.

        Raises:
            PeerError: as `JobHandle.logs`.
        """
        granted = await self.granted()
        if granted is None:
            asked = msgspec.structs.replace(asked, attempt=max(1, self.order.attempt))
            found = self.in_result(asked)
        else:
            asked = msgspec.structs.replace(asked, attempt=granted.attempt)
            asked = await self._begun(granted, asked)
            transfers, rest = self.peer.transfers, self._rest
            found = transfers.follow_logs(granted.peer_id, asked, rest)
        async with aclosing(found):
            async for piece in found:
                yield piece

    async def granted(self) -> LogsGranted | None:
        """Return leave to follow the logs; None if a copy of the result has them."""
        wish = LogsWanted(job=self.order.job)
        try:
            return await self.questions.ask(wish, LOGS, LogsGranted)
        except (ProviderUnreachableError, UnknownJobError):
            if self.order.result is None:
                raise
            return None

    async def in_result(self, asked: Follow) -> Pieces:
        """Yield what a sealed result, or a copy of it, has of the logs."""
        granted = await self.questions.read()
        if self.order.owner not in (None, granted.receipt.owner):
            raise ClientError(
                f"{self.order.job}: the receipt is for {granted.receipt.owner}"
            )
        seal = seal_of(granted.receipt, self.peer.users, self.peer.holdings)
        if seal is None:
            raise ClientError(f"{self.order.job}: its provider did not seal the result")
        pieces = self.peer.transfers.result_logs(
            granted.peer_id, granted.receipt.result, seal, asked
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

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
        head = granted.head if granted is not None else None
        if granted is None or head is None:
            found = self.in_result(asked)
        else:
            found = self._in_chain(granted, head, asked)
        async with aclosing(found):
            async for piece in found:
                yield piece

    async def _in_chain(
        self, granted: LogsGranted, head: LogHead, asked: Follow
    ) -> Pieces:
        records = self.peer.transfers.log_chain(granted.peer_id, asked)
        chain: LogChain | None = None
        async with aclosing(records):
            async for record in records:
                if chain is None:
                    chain = self._opened(record, asked)
                    continue
                if chain.links == head.links:
                    raise LogTamperedError("there are more logs than were signed")
                ends = (chain.stdout_end, chain.stderr_end)
                for piece in _beyond(asked, ends, chain.take(record)):
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


def _beyond(
    asked: Follow, ends: tuple[int, int], said: LogBytes
) -> tuple[tuple[str, bytes], ...]:
    """Return what a link holds beyond the offsets that are asked for."""
    out = said.stdout[max(0, asked.stdout_from - ends[0]) :]
    err = said.stderr[max(0, asked.stderr_from - ends[1]) :]
    return tuple((name, data) for name, data in ((STDOUT, out), (STDERR, err)) if data)
