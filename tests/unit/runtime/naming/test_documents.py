"""Documents of did:webs are looked up seldom, remembered briefly and never too long."""

from functools import partial

import pytest
import trio

from nunet_node.identity.did import Did, resolve
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.methods.did_web import document_under
from nunet_node.network.did_web import FetchError
from nunet_node.runtime.naming.documents import (
    ASKERS_MAX,
    DOCUMENTS_MAX,
    DOMAIN_RATE,
    FAILED_S,
    FETCHES_MAX,
    FRESH_S,
    PEER_RATE,
    TOTAL_RATE,
    WebDocuments,
)

ALICE = Did("did:web:alice.example.com")
KEY = SigningKey(bytes(32)).did
FIVE_MINUTES_S = 300


class Servers:
    """Every web server there is; what they do may be changed at any time."""

    def __init__(self):
        self.asked = []
        self.down = False
        self.takes_s = 0.0
        self.at_once = self.most_at_once = 0

    async def fetch(self, did):
        self.asked.append(did)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.takes_s)
            if self.down:
                raise FetchError(
                    "did.example.com leads to 10.0.0.7, which is not public"
                )
            return document_under(did, resolve(KEY))
        finally:
            self.at_once -= 1


@pytest.fixture
def servers():
    return Servers()


@pytest.fixture
def web(servers, nursery):
    return WebDocuments(servers.fetch, nursery)


def names(count, domain="{}.org", first=0):
    return [
        Did(f"did:web:a.{domain.format(f'h{n}')}") for n in range(first, first + count)
    ]


async def found(web, *dids, asker="peer"):
    return set((await web.find(dids, asker=asker)).found)


async def test_a_document_is_asked_for_once_and_remembered(
    autojump_clock, web, servers
):
    for _ in range(3):
        documents = await web.find([ALICE], asker="peer")
        assert documents.of(ALICE).did == ALICE
    assert servers.asked == [ALICE]


async def test_those_who_ask_at_once_wait_for_one_answer(autojump_clock, web, servers):
    servers.takes_s = 3
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(partial(web.find, [ALICE], asker=f"peer{number}"))
    assert servers.asked == [ALICE]
    assert await found(web, ALICE) == {ALICE}


async def test_an_asker_that_leaves_takes_nobodys_answer_along(
    autojump_clock, web, servers
):
    servers.takes_s = 3
    with trio.move_on_after(1):
        await web.find([ALICE], asker="first")
    assert await found(web, ALICE, asker="second") == {ALICE}
    assert servers.asked == [ALICE]


async def test_no_document_is_used_for_five_minutes(autojump_clock, web, servers):
    assert await found(web, ALICE) == {ALICE}
    await trio.sleep(FRESH_S)
    assert await found(web, ALICE) == {ALICE}
    assert servers.asked == [ALICE] * 2
    assert FRESH_S < FIVE_MINUTES_S


async def test_the_age_of_a_document_counts_from_the_question(
    autojump_clock, web, servers
):
    servers.takes_s = 4
    await found(web, ALICE)
    await trio.sleep(FRESH_S - 4)
    await found(web, ALICE)
    assert servers.asked == [ALICE] * 2


async def test_an_old_document_does_not_stand_in_for_a_server_that_is_down(
    autojump_clock, web, servers
):
    await found(web, ALICE)
    servers.down = True
    await trio.sleep(FRESH_S)
    documents = await web.find([ALICE], asker="peer")
    assert not documents.found
    assert set(documents.missing) == {ALICE}


async def test_a_failure_is_remembered_for_a_moment_alone(autojump_clock, web, servers):
    servers.down = True
    for _ in range(5):
        assert await found(web, ALICE) == set()
    assert servers.asked == [ALICE]
    servers.down = False
    await trio.sleep(FAILED_S)
    assert await found(web, ALICE) == {ALICE}


async def test_a_stranger_does_not_hear_what_our_network_looks_like(
    autojump_clock, web, servers
):
    servers.down = True
    documents = await web.find([ALICE], asker="peer")
    assert "10.0.0.7" not in documents.missing[ALICE]


async def test_a_bug_that_a_document_finds_fails_that_document_alone(
    autojump_clock, web, servers, caplog
):
    servers.takes_s = None
    assert await found(web, ALICE) == set()
    assert "met a bug" in caplog.text
    servers.takes_s = 0
    await trio.sleep(FAILED_S)
    assert await found(web, ALICE) == {ALICE}


async def test_one_peer_has_few_servers_asked_and_others_are_not_hindered(
    autojump_clock, web, servers
):
    many = names(20)
    for did in many:
        await found(web, did, asker="greedy")
    assert len(servers.asked) == PEER_RATE.burst
    assert await found(web, ALICE, asker="other") == {ALICE}
    await trio.sleep(1 / PEER_RATE.per_s)
    assert await found(web, *many[18:], asker="greedy") == {many[18]}


async def test_one_domain_is_asked_little_however_many_names_and_peers(
    autojump_clock, web, servers
):
    for number in range(3):
        for did in names(20, "{}.victim.com", first=20 * number):
            await found(web, did, asker=f"peer{did}")
    assert len(servers.asked) == DOMAIN_RATE.burst


async def test_everybody_together_has_a_limit(autojump_clock, web, servers):
    for did in names(3 * int(TOTAL_RATE.burst)):
        await found(web, did, asker=f"peer{did}")
    assert len(servers.asked) == TOTAL_RATE.burst
    await trio.sleep(10)
    for did in names(100, first=1000):
        await found(web, did, asker=f"peer{did}")
    assert len(servers.asked) == TOTAL_RATE.burst + 10 * TOTAL_RATE.per_s


async def test_few_are_asked_at_once_and_the_rest_is_refused_at_once(
    autojump_clock, web, servers
):
    servers.takes_s = 5
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for did in names(40):
            nursery.start_soon(partial(web.find, [did], asker=f"peer{did}"))
    assert len(servers.asked) == servers.most_at_once == FETCHES_MAX
    assert trio.current_time() - began == 5


async def test_what_is_remembered_is_bounded(autojump_clock, web):
    for did in names(DOCUMENTS_MAX + 60):
        assert await found(web, did, asker=f"peer{did}") == {did}
        await trio.sleep(1)
    assert len(web) == DOCUMENTS_MAX
    assert len(web._peers) == len(web._domains) == ASKERS_MAX


async def test_mail_servers_and_shells_are_not_greeted(autojump_clock, web, servers):
    shy = [Did(f"did:web:example.com%3A{port}") for port in (1, 22, 25, 1023)]
    assert await found(web, *shy) == set()
    assert servers.asked == []
