"""A home keeps what verifies, finds it again, and never uses what it took back."""

import secrets

import pytest

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.held.parcel import PARCEL_CHARS_MAX, pack
from nunet_node.capability.revocation import seal_revocation
from nunet_node.errors import PeerError
from nunet_node.identity.keys import SigningKey
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.tokens import (
    TokenError,
    chains,
    holdings,
    is_token_file,
    keep_token,
    keep_void,
    read_token_text,
    voids,
)

GIVER, TAKER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)


def link():
    return seal_delegation(
        signer=GIVER,
        audience=TAKER.did,
        subject=GIVER.did,
        command="/nunet",
        nonce=secrets.token_bytes(12),
        expires_at_s=1000,
    )


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def test_a_token_is_kept_once_and_found_again(home):
    text = pack([link()])
    first, again = keep_token(home, text), keep_token(home, f"{text}\n")
    assert first == again
    assert chains(home) == (first,)
    assert holdings(home).all() == first
    files = list((home.path / "tokens").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]


def test_what_does_not_verify_is_not_kept(home):
    bad = bytearray(link())
    bad[-1] ^= 1
    with pytest.raises(PeerError):
        keep_token(home, pack([bytes(bad)]))
    assert not list((home.path / "tokens").iterdir())


def test_a_damaged_file_does_not_hide_the_others(home):
    keep_token(home, pack([link()]))
    keep_token(home, pack([link()]))
    damaged = next((home.path / "tokens").glob("*.ucan"))
    damaged.write_text("nonsense")
    (home.path / "tokens" / "x.void").write_bytes(b"nonsense")
    assert len(chains(home)) == 1
    assert voids(home) == {}


def test_what_was_taken_back_is_not_used(home):
    token = link()
    (kept,) = keep_token(home, pack([token]))
    data = seal_revocation(signer=GIVER, tokens=[token], nonce=bytes(12), now_s=0)
    keep_void(home, kept.cid, data)
    keep_void(home, kept.cid, data)
    assert voids(home) == {kept.cid: data}
    assert holdings(home).revoked == {kept.cid}


def test_a_token_file_is_told_from_other_files(home, tmp_path):
    token, other = tmp_path / "t", tmp_path / "o"
    token.write_text(pack([link()]))
    other.write_bytes(b"\xff\xfe")
    assert is_token_file(str(token))
    assert not is_token_file(str(other))
    assert not is_token_file(str(tmp_path))
    assert not is_token_file("no such file")
    assert not is_token_file("nunet://" + "x" * 5000)
    assert not is_token_file("a\0b")


@pytest.mark.parametrize("data", [b"\xff", b"x" * (PARCEL_CHARS_MAX + 1), None])
def test_a_file_that_cannot_hold_a_token_is_refused(tmp_path, data):
    path = tmp_path / "t"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TokenError):
        read_token_text(path)
