"""A locked identity opens to the passphrase of the environment, and nobody is asked."""

import pytest

from nunet_node.identity.errors import LockedError
from nunet_node.runtime.home import HomeError, open_home
from nunet_node.runtime.wallet.passphrase import (
    PASSPHRASE_VARIABLE,
    asked_passphrase,
    given_passphrase,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    return open_home(tmp_path / "home")


def test_an_empty_passphrase_is_none():
    assert given_passphrase({PASSPHRASE_VARIABLE: ""}) is None
    assert given_passphrase({PASSPHRASE_VARIABLE: "x"}) == "x"


def test_nobody_is_asked_where_nobody_is(home):
    assert asked_passphrase("x") is None


def test_a_passphrase_in_the_environment_seals_what_is_made(home, monkeypatch):
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "hush")
    made = home.new_identity("anna")
    assert '"seed"' not in home.identity_path("anna").read_text()
    assert home.identity("anna").key.seed == made.key.seed
    assert [each.name for each in home.identities()] == ["anna"]


def test_without_it_a_locked_identity_can_be_named_and_not_used(home):
    made = home.new_identity("anna", passphrase="hush")
    home.new_identity("bert")
    assert home.known_did("anna") == made.did
    with pytest.raises(LockedError, match=PASSPHRASE_VARIABLE):
        home.identity("anna")
    assert [each.name for each in home.identities()] == ["bert"]


def test_a_wrong_passphrase_says_so(home, monkeypatch):
    home.new_identity("anna", passphrase="hush")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "other")
    with pytest.raises(HomeError, match="does not open"):
        home.identity("anna")
