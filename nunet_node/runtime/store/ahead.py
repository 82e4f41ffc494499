"""Reading many blocks in order, some of them before they are asked for.

Reading a block is a copy by the kernel and a hash, neither of which holds the
interpreter: by two threads both go on while whoever asked does something with the
block before. Rule: what is read ahead is bounded, comes in the order in which it was
asked for, and an error where its block stood.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import Final, TypeVar

from nunet_node.errors import PeerError
from nunet_node.wire.cid import Cid

READERS_MAX: Final = 2
"""Threads for one reading: a third gains where somebody has processors to spare, and
takes them from jobs everywhere."""

GROUP_BLOCKS_MAX: Final = 4
"""Blocks that one thread reads in one turn: handing over a turn takes as long as
reading a small block."""

AHEAD_BLOCKS_MAX: Final = 12
"""Blocks that are being read or wait, beside the group that is handed out: twelve
megabytes keep two threads busy."""

SMALL_BYTES: Final = 131_072
"""Length below which a block is read by whoever asks: threads that meet at the
interpreter's lock for every call would take longer than all that they call."""

_T = TypeVar("_T")
_Group = tuple[list[_T], PeerError | None]
"""What came of the blocks of a group, and what ended it early."""


def read_ahead(
    read: Callable[[Cid], _T], size: Callable[[_T], int], cids: Iterable[Cid]
) -> Generator[_T, None, None]:
    """Yield what ``read`` returns for each block, in order; two threads may call it.

    Close it when not all of it is wanted.

    Args:
        read: reads a block.
        size: tells from what that returned how long the block is.
        cids: which blocks.

    Raises:
        PeerError: of ``read``, after what came of all blocks before.
    """
    rest = iter(cids)
    going: deque[Future[_Group[_T]]] = deque()
    groups_max = 0
    with ThreadPoolExecutor(READERS_MAX, "read-ahead") as readers:
        try:
            while True:
                while len(going) < groups_max and (
                    group := tuple(islice(rest, GROUP_BLOCKS_MAX))
                ):
                    going.append(readers.submit(_read, read, group))
                if going:
                    came, error = going.popleft().result()
                else:
                    came, error = _read(read, islice(rest, 1))
                yield from came
                if error is not None:
                    raise error
                if not came:
                    return
                small = sum(map(size, came)) < SMALL_BYTES * len(came)
                groups_max = 0 if small else AHEAD_BLOCKS_MAX // GROUP_BLOCKS_MAX
        finally:
            for each in going:
                each.cancel()


@contextmanager
def expecting(
    get: Callable[[Cid], bytes], order: Iterable[Cid]
) -> Iterator[Callable[[Cid], bytes]]:
    """Yield a ``get`` that reads ahead where it is asked in this order.

    Whatever is asked for beside it, or after an error, is read when it is asked for.
    From one thread.
    """
    cids = tuple(order)
    with closing(read_ahead(get, len, cids)) as coming:
        rest = iter(cids)
        following = next(rest, None)

        def get_next(cid: Cid) -> bytes:
            nonlocal following
            if cid != following:
                return get(cid)
            following = None
            data = next(coming)
            following = next(rest, None)
            return data

        yield get_next


def _read(read: Callable[[Cid], _T], group: Iterable[Cid]) -> _Group[_T]:
    came: list[_T] = []
    for cid in group:
        try:
            came.append(read(cid))
        except PeerError as error:
            return came, error
    return came, None
