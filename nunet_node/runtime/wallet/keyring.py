"""The keys of a peer's users, and having those sign that other programs have.

Rule: the node is given an absent key in the place of each, so that nothing in it can
wait for a program; it orders a signature, and hears of it as of anything else.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import AbsentKey, Signer
from nunet_node.protocol.signing.events import (
    AskSignature,
    DropSignature,
    SignatureMade,
    SignatureMissing,
)
from nunet_node.runtime.wallet.external import ExternalSigner

Post = Callable[[SignatureMade | SignatureMissing], Awaitable[None]]


class Keyring:
    """The keys of a peer's users, as the node may use them."""

    def __init__(self, keys: Iterable[Signer]) -> None:
        self.users: dict[Did, Signer] = {}
        """Each user's key, or an absent key in its place."""
        self._signers: dict[Did, ExternalSigner] = {}
        self.admit(keys)

    def admit(self, keys: Iterable[Signer]) -> None:
        """Take in keys of users that are not known yet."""
        for key in keys:
            if isinstance(key, ExternalSigner):
                self._signers.setdefault(key.did, key)
                self.users.setdefault(key.did, AbsentKey(key.did, key.algorithm))
            else:
                self.users.setdefault(key.did, key)

    def desk(self, post: Post, tasks: trio.Nursery) -> "SignatureDesk":
        """Return what carries the node's orders for signatures out."""
        return SignatureDesk(self._signers, post, tasks)


class SignatureDesk:
    """Has signatures made; each in a task of its own."""

    def __init__(
        self, signers: Mapping[Did, ExternalSigner], post: Post, tasks: trio.Nursery
    ) -> None:
        self._signers = signers
        self._post = post
        self._tasks = tasks
        self._asked: dict[int, trio.CancelScope] = {}
        self.acts: Final[dict[type[Any], Callable[[Any], None]]] = {
            AskSignature: self._ask,
            DropSignature: self._drop,
        }

    def _ask(self, effect: AskSignature) -> None:
        self._asked[effect.errand] = scope = trio.CancelScope()
        self._tasks.start_soon(self._answer, effect, scope)

    def _drop(self, effect: DropSignature) -> None:
        scope = self._asked.pop(effect.errand, None)
        if scope is not None:
            scope.cancel()

    async def _answer(self, effect: AskSignature, scope: trio.CancelScope) -> None:
        with scope:
            answer = await self._made(effect)
            self._asked.pop(effect.errand, None)
            await self._post(answer)

    async def _made(self, effect: AskSignature) -> SignatureMade | SignatureMissing:
        sign = partial(self._signers[effect.did].signed, effect.message)
        try:
            return SignatureMade(errand=effect.errand, signature=await sign())
        except PeerError as error:
            return SignatureMissing(errand=effect.errand, reason=str(error))
