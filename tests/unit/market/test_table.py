"""The newest word of each node counts, for as long as it said."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import Statement
from nunet_node.market import table as table_module
from nunet_node.market.offers import Advert
from nunet_node.market.table import AdvertTable

NOW_S = 1_000
KEYS = [SigningKey(bytes([n] * 32)) for n in range(1, 6)]


def heard(sequence=1, *, key=KEYS[0], expires_at_s=NOW_S + 24, leaving=False, of=None):
    advert = Advert(
        peer_id=of or peer_id_of(key.did),
        addresses=(),
        sequence=sequence,
        leaving=leaving,
    )
    return Statement(
        issuer=key.did,
        audience="*",
        issued_at_s=NOW_S,
        expires_at_s=expires_at_s,
        cti=bytes(16),
        domain=b"",
        payload=advert,
        data=b"",
    )


@pytest.fixture
def table():
    return AdvertTable()


def test_the_newest_advert_of_a_node_counts(table):
    assert table.hear(heard(1), NOW_S)
    assert table.hear(heard(2), NOW_S)
    assert [h.payload.sequence for h in table.fresh(NOW_S)] == [2]


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_older_or_equal_advert_changes_nothing(table, sequence):
    table.hear(heard(2), NOW_S)
    assert not table.hear(heard(sequence), NOW_S)
    assert table.of_provider(KEYS[0].did, NOW_S).payload.sequence == 2


def test_an_advert_in_anothers_name_is_dropped(table):
    assert not table.hear(heard(of=peer_id_of(KEYS[1].did)), NOW_S)
    assert len(table) == 0


def test_an_advert_counts_until_it_expires_and_not_at_that_moment(table):
    table.hear(heard(expires_at_s=NOW_S + 5), NOW_S)
    assert table.of_provider(KEYS[0].did, NOW_S + 4) is not None
    assert table.of_provider(KEYS[0].did, NOW_S + 5) is None
    assert list(table.fresh(NOW_S + 5)) == []


def test_an_expired_advert_is_not_news(table):
    assert not table.hear(heard(expires_at_s=NOW_S), NOW_S)


def test_a_node_that_leaves_is_forgotten_and_its_old_word_stays_old(table):
    table.hear(heard(5), NOW_S)
    assert table.hear(heard(6, leaving=True), NOW_S)
    assert len(table) == 0
    assert not table.hear(heard(5), NOW_S)
    assert not table.hear(heard(6), NOW_S)
    assert table.hear(heard(7), NOW_S)


def test_a_node_whose_connection_broke_comes_back_only_with_news(table):
    table.hear(heard(5), NOW_S)
    table.forget(peer_id_of(KEYS[0].did))
    assert not table.hear(heard(5), NOW_S)
    assert table.hear(heard(6), NOW_S)


def test_forgetting_a_node_that_was_never_heard_is_harmless(table):
    table.forget(peer_id_of(KEYS[0].did))
    assert table.hear(heard(1), NOW_S)


def test_expired_adverts_are_dropped_together(table):
    table.hear(heard(expires_at_s=NOW_S + 1), NOW_S)
    table.hear(heard(key=KEYS[1]), NOW_S)
    table.expire(NOW_S + 1)
    assert len(table) == 1


def test_a_flood_of_nodes_is_bounded_and_the_known_are_kept(table, monkeypatch):
    monkeypatch.setattr(table_module, "NODES_MAX", 2)
    assert table.hear(heard(key=KEYS[0]), NOW_S)
    assert table.hear(heard(key=KEYS[1]), NOW_S)
    assert not table.hear(heard(key=KEYS[2]), NOW_S)
    assert table.hear(heard(2, key=KEYS[0]), NOW_S)
    assert len(table) == 2


def test_a_full_table_makes_room_of_what_expired(table, monkeypatch):
    monkeypatch.setattr(table_module, "NODES_MAX", 1)
    table.hear(heard(key=KEYS[0], expires_at_s=NOW_S + 1), NOW_S)
    assert table.hear(heard(key=KEYS[1]), NOW_S + 2)
    assert table.of_provider(KEYS[1].did, NOW_S + 2) is not None
