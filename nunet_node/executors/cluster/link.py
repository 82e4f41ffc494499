"""What a provider and its runner on a machine of a cluster say to each other.

Rule: the connection is the lease. Both ends beat; whoever hears nothing for
`SILENCE_S`, or sees the connection end, counts the other as gone, and a runner whose
provider is gone kills its job. So nothing that a provider started outlives it.
"""

import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO, ClassVar, Final, Literal

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.executors.collect import OutputsRefused, Skipped
from nunet_node.executors.port import Capability, RunEnd, RunOrder
from nunet_node.quantities import Count
from nunet_node.wire.framing import FrameReader, frame
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import Record, decode_record, encode_record

BEAT_S: Final = 5
"""How often an end that says nothing else says that it lives."""
SILENCE_S: Final = 30
"""Longest silence of an end that counts as living: some beats on a busy machine."""
PIECE_BYTES_MAX: Final = 128 << 10
"""Bytes of a file in one frame: half a frame, few enough to beat in between."""
TOKEN_BYTES: Final = 32
PATH_CHARS_MAX: Final = 8192
"""Longest path of a file: its depth and its names are bounded where it is made."""


class LinkLostError(PeerError):
    """The other end is gone, or says what it should not."""

    code: ClassVar[str] = "executor.link"


class Hello(Record, tag_field="kind", tag="hello"):
    """The runner's first word: the token of its ticket, and where it runs."""

    token: Annotated[bytes, msgspec.Meta(max_length=TOKEN_BYTES)]
    machine: Annotated[str, msgspec.Meta(max_length=256)]


class Examine(Record, tag_field="kind", tag="examine"):
    """Try every engine of your machine; answered by `Examined`."""

    thorough: bool = False


class Work(Record, tag_field="kind", tag="work"):
    """Run this, when the files that follow have come and `Go` with them."""

    order: RunOrder


class File(Record, tag_field="kind", tag="file"):
    """A file follows, in pieces that have this size together."""

    path: Annotated[str, msgspec.Meta(max_length=PATH_CHARS_MAX)]
    size_bytes: Count
    executable: bool = False


class Piece(Record, tag_field="kind", tag="piece"):
    """The next bytes of a file."""

    data: Annotated[bytes, msgspec.Meta(max_length=PIECE_BYTES_MAX)]


class Go(Record, tag_field="kind", tag="go"):
    """Every input is there."""


class Stop(Record, tag_field="kind", tag="stop"):
    """Kill it; answered by `Stopped` when nothing of it is alive."""


class Beat(Record, tag_field="kind", tag="beat"):
    """Nothing, but that we live."""


class Started(Record, tag_field="kind", tag="started"):
    """The guest is about to execute."""


class Wrote(Record, tag_field="kind", tag="wrote"):
    """What the job wrote to one of its streams."""

    stream: Literal["stdout", "stderr"]
    data: Annotated[bytes, msgspec.Meta(max_length=PIECE_BYTES_MAX)]


class Ended(Record, tag_field="kind", tag="ended"):
    """The run is over; its outputs follow, then `Left`."""

    end: RunEnd


class Left(Record, tag_field="kind", tag="left"):
    """Every output was sent; these were not."""

    skipped: tuple[Skipped, ...] = ()
    skipped_more: Count = 0
    refused: OutputsRefused | None = None


class Stopped(Record, tag_field="kind", tag="stopped"):
    """Nothing of the job is alive."""


class Examined(Record, tag_field="kind", tag="examined"):
    """What the machine can do, and the disk that it has for a job."""

    capabilities: tuple[Capability, ...]
    architecture: Annotated[str, msgspec.Meta(max_length=32)]
    disk_bytes: Count


class Unable(Record, tag_field="kind", tag="unable"):
    """The runner could not do it; the job did not run, or not to an end."""

    reason: Annotated[str, msgspec.Meta(max_length=2000)]


Word = (
    Hello
    | Examine
    | Work
    | File
    | Piece
    | Go
    | Stop
    | Beat
    | Started
    | Wrote
    | Ended
    | Left
    | Stopped
    | Examined
    | Unable
)


class Link:
    """One connection; one task may receive while others send."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        """Speak over ``stream``, which is closed by `aclose`."""
        self._stream = stream
        self._reader = FrameReader()
        self._waiting: deque[bytes] = deque()
        self._turn = trio.Lock()
        self.machine = ""
        self.closed = trio.Event()
        """Set when this end has closed it."""

    async def send(self, word: Word) -> None:
        """Say one word.

        Raises:
            LinkLostError: the other end is gone.
        """
        data = frame(encode_record(word))
        async with self._turn:
            try:
                with trio.fail_after(SILENCE_S):
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise LinkLostError(f"the connection broke: {error}") from None
            except trio.TooSlowError:
                raise LinkLostError(f"nothing was taken for {SILENCE_S} s") from None

    async def receive(self) -> Word:
        """Return the next word that is no beat.

        Raises:
            LinkLostError: the other end is gone, silent, or speaks nonsense.
        """
        while True:
            while not self._waiting:
                await self._hear()
            word = self._read(self._waiting.popleft())
            if not isinstance(word, Beat):
                return word

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[trio.Nursery]:
        """Show that this end lives, for as long as the block.

        Yields the nursery that beats; it is cancelled at the end. What goes wrong in
        the block is raised by itself, in no group.
        """
        failure: PeerError | OSError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            try:
                yield nursery
            except (PeerError, OSError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _beat(self) -> None:
        while True:
            await trio.sleep(BEAT_S)
            try:
                await self.send(Beat())
            except LinkLostError:
                # Whoever receives is told.
                return

    async def send_file(self, path: str, descriptor: int, *, executable: bool) -> None:
        """Send a file that is open for reading; closes it.

        Raises:
            LinkLostError: the other end is gone.
            OSError: the file cannot be read.
        """
        with os.fdopen(descriptor, "rb") as source:
            size_bytes = os.fstat(descriptor).st_size
            await self.send(
                File(path=path, size_bytes=size_bytes, executable=executable)
            )
            while size_bytes > 0:
                wanted = min(size_bytes, PIECE_BYTES_MAX)
                data = await trio.to_thread.run_sync(source.read, wanted)
                if not data:
                    raise LinkLostError(f"{path!r} became shorter while it was sent")
                await self.send(Piece(data=data))
                size_bytes -= len(data)

    async def receive_file(self, head: File, target: BinaryIO) -> None:
        """Write the pieces of a file that was announced.

        Raises:
            LinkLostError: the other end is gone, or sends something else.
            OSError: the disk is full.
        """
        left = head.size_bytes
        while left > 0:
            word = await self.receive()
            if not isinstance(word, Piece) or not 0 < len(word.data) <= left:
                raise LinkLostError(f"{head.path!r} did not come as announced")
            await trio.to_thread.run_sync(target.write, word.data)
            left -= len(word.data)

    async def aclose(self) -> None:
        """End the connection; nothing waits."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)
        self.closed.set()

    async def _hear(self) -> None:
        try:
            with trio.fail_after(SILENCE_S):
                data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLostError(f"the connection broke: {error}") from None
        except trio.TooSlowError:
            raise LinkLostError(f"nothing was heard for {SILENCE_S} s") from None
        if not data:
            raise LinkLostError("the connection ended")
        try:
            self._waiting.extend(self._reader.feed(bytes(data)))
        except PeerError as error:
            raise LinkLostError(f"what came is no frame: {error}") from None

    def _read(self, data: bytes) -> Word:
        try:
            word: Word = decode_record(Word, data, bytes_max=FRAME_BYTES_MAX)
        except PeerError as error:
            raise LinkLostError(f"what came is no word: {error}") from None
        return word
