"""A client: one home's user on the network, for one command or for many jobs.

Rule: a client is a peer without a server: it joins under a key of its own that
lives as long as the process, and speaks for the user with the user's key alone.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Final

import trio

from nunet_node.capability.command import Command
from nunet_node.capability.delegation import Delegation
from nunet_node.capability.held.terms import link_of
from nunet_node.client.documents import Document, node_documents
from nunet_node.client.errors import (
    ClientError,
    InputsError,
    NoNetworkError,
    UnknownJobError,
)
from nunet_node.client.fetching.public import fetch_public
from nunet_node.client.handle import JobHandle, OnEvent
from nunet_node.client.identities import DEFAULT_IDENTITY, acting, users_of
from nunet_node.client.lookup import find_order, within_reach
from nunet_node.client.trust.delegating import Revoked, revocation
from nunet_node.client.trust.revoking import Standing, ask_standing, revoke
from nunet_node.identity.did import Did, parse_did
from nunet_node.identity.keys import SEED_BYTES, AbsentKey, SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.wallet import Identity
from nunet_node.jobs.job_file import JobFile, job_spec
from nunet_node.jobs.link import Link, is_link, parse_link
from nunet_node.jobs.specification import (
    SALT_BYTES,
    JobId,
    JobSpec,
    ResultKind,
    is_job_id,
    job_id_of,
)
from nunet_node.network.opening import open_host
from nunet_node.protocol.effects import News, ProviderHeard
from nunet_node.protocol.inputs import CustodianNamed
from nunet_node.protocol.messages import STATUS, SUBMIT
from nunet_node.protocol.order import Order
from nunet_node.results.errors import ResultError
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.peer import OpenNetwork, Peer, open_peer
from nunet_node.runtime.settings import PeerSettings
from nunet_node.runtime.wallet import tokens
from nunet_node.runtime.wallet.secrets import checked_sources
from nunet_node.storage.errors import TreeRefusedError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

JOIN_S: Final = 10
"""How long a command waits for its first neighbour: two slow dials."""


class Client:
    """One user of one home, on the network. Made by `open_client`."""

    def __init__(self, peer: Peer, home: Home, identity: Identity) -> None:
        self.home = home
        self.identity = identity
        self._peer = peer
        self._handles: dict[JobId, list[JobHandle]] = {}
        self._joined = False

    async def submit(
        self,
        work: JobFile | JobSpec,
        on_event: OnEvent | None = None,
        *,
        owner: str | None = None,
    ) -> JobHandle:
        """Store the inputs here, record the order, and call for bids.

        Args:
            work: the job; the inputs of a `JobFile` are read now.
            on_event: called with everything that happens to the job.
            owner: whose job it is. Unless said it is that of the one who delegated
                submitting to this identity, or else this identity's own.

        Returns:
            The job's handle; `JobHandle.placed` says when a provider has it.

        Raises:
            NoNetworkError: there is no other peer.
            PeerError: an input or a secret cannot be read, or is out of bounds.
        """
        await self.join()
        spec = await self._specified(work) if isinstance(work, JobFile) else work
        sources = (
            await trio.to_thread.run_sync(checked_sources, spec, work)
            if spec.secrets
            else ()
        )
        salt = secrets.token_bytes(SALT_BYTES)
        cid = Cid.of_dag_cbor(encode_record(spec))
        whose = self._owner(owner)
        handle = self._handle(job_id_of(whose, cid, salt), on_event)
        await self._peer.place(spec, salt=salt, owner=whose, secrets_from=sources)
        return handle

    async def find(self, word: str, on_event: OnEvent | None = None) -> JobHandle:
        """Return the job that an id, the start of one, a name or a link means.

        Jobs of this home are found without a network; any other whole id is asked
        of every provider heard.

        Raises:
            UnknownJobError: nobody has such a job for us.
            AmbiguousJobError: a prefix or a name fits several jobs.
            PeerError: the link is malformed.
        """
        link = parse_link(word) if is_link(word) else None
        orders = await trio.to_thread.run_sync(read_orders, self.home)
        own = {job: order for job, order in orders.items() if order.owner}
        job = find_order(own, link.job if link else word)
        if job is not None:
            await self._peer.load(job)
            return self._handle(job, on_event)
        if link is None and is_job_id(word):
            link = self._shared(JobId(word))
        if link is not None:
            await self._name_custodian(link)
            return self._handle(link.job, on_event)
        if is_job_id(word):
            return await self._search(JobId(word), on_event)
        raise UnknownJobError(word)

    async def fetch_public(self, root: Cid, target: Path, listener: Listener) -> None:
        """Fetch a public result by its id alone, from anybody who has it.

        Raises:
            NoNetworkError: there is no other peer.
            ResultMissingError: none of those heard gives it to everybody.
            PeerError: as `JobHandle.fetch`.
        """
        await fetch_public(self._peer, self.join, root, target, listener)

    async def revoke(self, chain: tuple[Delegation, ...]) -> Revoked:
        """Take back the last link of a chain, and have every provider heard keep that.

        The revocation stays in this home whatever comes, and a node that runs on the
        home brings it to its neighbours.

        Raises:
            ClientError: nobody whose key is in this home gave any of the links.
            NoNetworkError: there is no other peer.
        """
        now_s = self._now_s()
        data = await trio.to_thread.run_sync(revocation, self.home, chain, now_s)
        self._peer.holdings.void([chain[-1].cid])
        await self.join()
        return await revoke(self._peer, chain, data)

    async def standing(self, links: Sequence[Delegation]) -> Standing:
        """Ask every provider heard whether any of these links has been revoked.

        A revocation that is shown is kept in this home. That none is shown is no
        proof that there is none.

        Raises:
            NoNetworkError: there is no other peer.
        """
        await self.join()
        found = await ask_standing(self._peer, links)
        for cid, data in found.void.items():
            await trio.to_thread.run_sync(tokens.keep_void, self.home, cid, data)
        self._peer.holdings.void(found.void)
        return found

    async def orders(self) -> dict[JobId, Order]:
        """Return the jobs of this home, as their records stand."""
        orders = await trio.to_thread.run_sync(read_orders, self.home)
        return {job: order for job, order in orders.items() if order.owner}

    async def nodes(self) -> list[Document]:
        """Return who is on the network.

        Raises:
            NoNetworkError: there is no other peer.
        """
        await self.join()
        return self._nodes()

    @property
    def clock_doubted(self) -> bool:
        """Whether all that the network says is out of date by this machine's clock."""
        return self._peer.node.clock_doubted

    async def until_heard(self, wanted: Callable[[list[Document]], bool]) -> None:
        """Wait until the nodes heard of are as ``wanted``.

        Only a client that was opened with ``gossip`` hears of changes.
        """
        await self.join()
        with self._peer.subscribe() as news:
            while not wanted(self._nodes()):
                while not isinstance(await news.receive(), ProviderHeard):
                    pass

    async def join(self) -> None:
        """Reach the network and hear who offers what, again once that is out of date.

        Raises:
            NoNetworkError: no peer answered.
        """
        if self._joined and self._nodes():
            return
        joined = await self._peer.wait_known(JOIN_S)
        if not joined.neighbours:
            why = "; ".join(joined.failures) or "nobody is named to join it by"
            raise NoNetworkError(
                f"no network: {why}; name a peer that runs with --bootstrap MULTIADDR, "
                "or run `nunet-node up` on this home"
            )
        self._joined = True

    async def watch(self, news: trio.MemoryReceiveChannel[News]) -> None:
        """Give news to the jobs they are about; runs as long as the client."""
        async for each in news:
            self._hear(each)
            # What came together is told together: whoever waits for the end hears
            # first what led to it.
            with suppress(trio.WouldBlock):
                while True:
                    self._hear(news.receive_nowait())

    def _hear(self, news: News) -> None:
        about: JobId | None = getattr(news, "job", None)
        for handle in self._handles.get(about, ()) if about else ():
            handle.hear(news)

    def _nodes(self) -> list[Document]:
        now_s = self._now_s()
        return node_documents(self._peer.adverts.fresh(now_s), now_s)

    def may(self, handle: JobHandle, command: str) -> bool:
        """Tell whether a key here may use a command on a job, as far as is known."""
        return self._peer.may(handle.order, command)

    def opens(self, order: Order) -> bool:
        """Tell whether a key in this process could open the job's result.

        It cannot if another program has the owner's key: such a program only signs.
        """
        public = order.spec is not None and order.spec.results is ResultKind.PUBLIC
        return public or not isinstance(
            self._peer.users.get(order.owner or self.identity.did), AbsentKey
        )

    def _owner(self, named: str | None) -> Did:
        """Return whose job a new one is."""
        mine, now_s = self.identity.did, self._now_s()
        may = self._peer.holdings.principals(mine, Command(SUBMIT), now_s)
        if named is not None:
            owner = parse_did(named)
            if owner != mine and owner not in may:
                raise ClientError(
                    f"{mine} may not submit for {owner}: no delegation that is held "
                    "here says so (see `nunet-node cap list`)"
                )
            return owner
        # Who admits others by delegation does not make them its deputies by it.
        fresh = self._peer.adverts.fresh(now_s)
        others = may - {Did(did) for heard in fresh for did in heard.payload.anchors}
        if len(others) > 1:
            raise ClientError(
                f"{mine} may submit for several: {', '.join(sorted(others))}; "
                "say whose job it is with --owner DID"
            )
        return next(iter(others), mine)

    def _shared(self, job: JobId) -> Link | None:
        """Return the link of a job that somebody shared with this home."""
        for delegation in self._peer.holdings.all():
            text = link_of(delegation.meta)
            if is_link(text) and (link := parse_link(text)).job == job:
                return link
        return None

    def _now_s(self) -> int:
        return self._peer.driver.clock.now().unix_s

    def _handle(self, job: JobId, on_event: OnEvent | None) -> JobHandle:
        handle = JobHandle(self._peer, job, on_event)
        self._handles.setdefault(job, []).append(handle)
        return handle

    async def _specified(self, work: JobFile) -> JobSpec:
        inputs = work.all_inputs()
        if not inputs:
            return job_spec(work, inputs=None, inputs_bytes=0)

        async def fetch(word: str, place: Path) -> None:
            await (await self.find(word)).fetch_for_now(place)

        try:
            async with within_reach(inputs, self.home.path, fetch) as sources:
                root, size_bytes = await self._peer.store_inputs(sources)
        except (TreeRefusedError, ResultError) as error:
            raise InputsError(f"an input cannot be brought: {error}") from error
        return job_spec(work, inputs=root, inputs_bytes=size_bytes)

    async def _name_custodian(self, link: Link) -> None:
        named = CustodianNamed(
            job=link.job,
            provider=link.custodian,
            peer_id=peer_id_of(link.custodian),
            addresses=link.addresses,
            owner=link.owner,
        )
        await self._peer.tell(named)

    async def _search(self, job: JobId, on_event: OnEvent | None) -> JobHandle:
        """Ask one provider after another; one that refuses says nothing by it."""
        await self.join()
        asked = Command(STATUS)
        others = self._peer.holdings.principals(self.identity.did, asked, self._now_s())
        for heard, owner in product(
            list(self._peer.adverts.fresh(self._now_s())),
            (self.identity.did, *sorted(others)),
        ):
            link = Link(
                job=job,
                owner=owner,
                custodian=heard.issuer,
                addresses=heard.payload.addresses,
            )
            await self._name_custodian(link)
            handle = self._handle(job, on_event)
            try:
                await handle.report()
            except ClientError:
                self._handles[job].remove(handle)
            else:
                return handle
        raise UnknownJobError(job)


@asynccontextmanager
async def open_client(
    home: Home | Path | None = None,
    *,
    bootstrap: Sequence[str] = (),
    identity: str = DEFAULT_IDENTITY,
    gossip: bool = False,
    network: OpenNetwork = open_host,
) -> AsyncIterator[Client]:
    """Open a client on a home.

    Args:
        home: the home, or its directory; the usual one unless given.
        bootstrap: multiaddrs of peers to join through; a `nunet-node up` that runs
            on the home is used anyway.
        identity: which of the home's identities acts; the default one is made at
            first need.
        gossip: whether to hear of every change in what the network offers; a client
            that lives long may want it.
        network: opens the host; libp2p unless given.

    Raises:
        PeerError: the home, the identity or an address cannot be used.
    """
    place = home if isinstance(home, Home) else open_home(home)
    chosen = acting(place, identity)
    settings = PeerSettings(
        home=place,
        key=SigningKey(secrets.token_bytes(SEED_BYTES)),
        users=users_of(place, chosen),
        bootstrap=tuple(bootstrap),
        gossip=gossip,
    )
    async with (
        open_peer(settings, network=network) as peer,
        trio.open_nursery() as nursery,
    ):
        client = Client(peer, place, chosen)
        nursery.start_soon(client.watch, peer.subscribe())
        try:
            yield client
        finally:
            nursery.cancel_scope.cancel()
