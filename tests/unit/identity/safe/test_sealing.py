"""A sealed seed opens to its passphrase, at a cost that has limits."""

import msgspec
import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.errors import WalletError
from nunet_node.identity.safe import sealing
from nunet_node.identity.safe.sealing import (
    MEMORY_BYTES_MAX,
    NONCE_BYTES,
    PASSES_MAX,
    SALT_BYTES,
    Sealed,
    open_seed,
    seal_seed,
)

SEED, SALT, NONCE = b"s" * 32, b"a" * SALT_BYTES, b"n" * NONCE_BYTES
SEALED = seal_seed(SEED, "correct horse", salt=SALT, nonce=NONCE)


def changed(**changes):
    return msgspec.structs.replace(SEALED, **changes)


def test_the_passphrase_opens_it():
    assert open_seed(SEALED, "correct horse") == SEED


@pytest.mark.parametrize("wrong", ["", "correct horse ", "Correct horse"])
def test_no_other_passphrase_does(wrong):
    with pytest.raises(WalletError, match="does not open"):
        open_seed(SEALED, wrong)


@pytest.mark.parametrize(
    "sealed",
    [
        changed(salt="AAAA"),
        changed(salt="?"),
        changed(box=""),
        changed(box=SEALED.box[:-8]),
        changed(box="A" + SEALED.box[1:]),
        changed(passes=2),
    ],
)
def test_a_damaged_box_does_not_open(sealed):
    with pytest.raises(WalletError):
        open_seed(sealed, "correct horse")


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": PASSES_MAX + 1},
        {"memory_bytes": MEMORY_BYTES_MAX + 1},
        {"passes": 0},
        {"kdf": "scrypt"},
        {"more": 1},
    ],
)
def test_a_file_cannot_set_the_price(changes):
    plain = {**msgspec.to_builtins(SEALED), **changes}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plain, Sealed)


def test_sealing_takes_everything_that_it_needs():
    for changes in ({"salt": b""}, {"nonce": b""}):
        given = {"salt": SALT, "nonce": NONCE, **changes}
        with pytest.raises(MisuseError):
            seal_seed(SEED, "x", **given)
    with pytest.raises(MisuseError):
        seal_seed(SEED, "", salt=SALT, nonce=NONCE)


def test_the_seed_shows_nowhere():
    assert "ssss" not in repr(SEALED)
    assert sealing.MEMORY_BYTES <= MEMORY_BYTES_MAX
