"""Opening what peers send, once the documents that it needs are here.

Rule: looking up is a step of its own before opening, so that opening stays a function
of what it is given, and one frame asks for each document at most once. A frame that no
did:web signed waits for nothing.
"""

from collections.abc import Awaitable, Callable, Collection

from nunet_node.identity.did import WEB_MARK, Did, Documents
from nunet_node.protocol.inputs import FrameReceived, FrameRejected, SessionId
from nunet_node.protocol.opening import open_frame
from nunet_node.protocol.trust.signers import web_signers
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.naming.documents import WebDocuments


class Frames:
    """Opens the frames that one peer receives.

    Args:
        own_did: the peer's own DID.
        audiences: returns the DIDs that this process speaks for.
        clock: tells what is out of date.
        web: looks did:webs up; None where they are not spoken.
    """

    def __init__(
        self,
        own_did: Did,
        audiences: Callable[[], Collection[str]],
        clock: Clock,
        web: WebDocuments | None,
    ) -> None:
        self._own_did = own_did
        self._audiences = audiences
        self._clock = clock
        self._web = web

    def find(self, peer_id: str, data: bytes) -> Awaitable[Documents] | None:
        """Return what is to be awaited before a frame is opened; None for most."""
        if self._web is None or WEB_MARK not in data:
            return None
        now_s = self._clock.now().unix_s
        signers = web_signers(data, now_s=now_s, own_did=self._own_did)
        return self._web.find(signers, asker=peer_id)

    def open(
        self, session: SessionId, data: bytes, documents: Documents
    ) -> FrameReceived | FrameRejected:
        """Return what a frame says, or why it says nothing.

        Raises:
            PeerError: it is no frame at all.
        """
        return open_frame(
            session,
            data,
            now_s=self._clock.now().unix_s,
            audiences=self._audiences(),
            own_did=self._own_did,
            documents=documents,
        )
