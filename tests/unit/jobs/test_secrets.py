"""Sealing a job's secrets: they open for one use, and show nowhere."""

from dataclasses import replace

import pytest

from nunet_node.identity.errors import UnsealError
from nunet_node.identity.keys import EcdsaSigningKey, SigningKey
from nunet_node.jobs.secrets import (
    PLAIN_BYTES_MAX,
    SEALED_BYTES_MAX,
    SECRET_BYTES_MAX,
    SECRETS_BYTES_MAX,
    SecretsError,
    SecretsGiven,
    SecretsUse,
    open_secrets,
    seal_secrets,
    why_too_large,
)
from nunet_node.jobs.specification import SECRETS_MAX
from nunet_node.wire.cose import ALG_ES256
from nunet_node.wire.limits import FRAME_BYTES_MAX

OWNER, PROVIDER, OTHER = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
VALUES = {"TOKEN": b"marker", "KEY": bytes(range(256)), "EMPTY": b""}
USE = SecretsUse(job="j" * 32, attempt=1, provider=PROVIDER.did, owner=OWNER.did)


def sealed(values=VALUES, use=USE, chance=9):
    return seal_secrets(values, use, ephemeral_secret=bytes([chance]) * 32)


def opened(data, use=USE, names=tuple(VALUES), key=PROVIDER):
    secret = key.key_agreement_secret()
    return open_secrets(data, use, names, reader_secret=secret)


def test_what_is_sealed_to_a_provider_opens_there():
    assert opened(sealed()) == VALUES


def test_no_value_stands_in_what_is_sealed():
    assert b"marker" not in sealed()


def test_sealing_anew_is_another_text():
    assert sealed(chance=1) != sealed(chance=2)


@pytest.mark.parametrize(
    "change",
    [
        {"job": "k" * 32},
        {"attempt": 2},
        {"provider": OTHER.did},
        {"owner": OTHER.did},
    ],
    ids=lambda change: next(iter(change)),
)
def test_secrets_open_for_nothing_else(change):
    with pytest.raises(UnsealError):
        opened(sealed(), replace(USE, **change))


def test_secrets_open_for_nobody_else():
    with pytest.raises(UnsealError):
        opened(sealed(), key=OTHER)


def test_damaged_secrets_do_not_open():
    data = sealed()
    with pytest.raises(UnsealError):
        opened(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("names", [(), ("TOKEN",), (*VALUES, "MORE")])
def test_other_secrets_than_the_job_names_are_refused(names):
    with pytest.raises(SecretsError, match="names"):
        opened(sealed(), names=names)


def test_nothing_is_sealed_to_an_identity_without_a_key_for_that():
    ecdsa = EcdsaSigningKey(bytes([5]) * 32, ALG_ES256)
    with pytest.raises(SecretsError, match="nothing can be sealed"):
        sealed(use=replace(USE, provider=ecdsa.did))


def test_one_value_and_all_together_have_a_limit():
    most = {"A": bytes(SECRET_BYTES_MAX), "B": bytes(SECRET_BYTES_MAX)}
    assert why_too_large(most) == ""
    assert opened(sealed(most), names=most) == most
    assert "limit 32768" in why_too_large({"A": bytes(SECRET_BYTES_MAX + 1)})
    assert "limit 65536" in why_too_large({**most, "C": b"x"})
    with pytest.raises(SecretsError, match="together"):
        sealed({**most, "C": b"x"})


def test_the_most_secrets_with_the_longest_names_fit_their_frame():
    names = [f"{number:_>64}" for number in range(SECRETS_MAX)]
    values = dict.fromkeys(names, bytes(SECRETS_BYTES_MAX // SECRETS_MAX))
    data = sealed(values)
    assert len(data) <= SEALED_BYTES_MAX < FRAME_BYTES_MAX // 2
    assert opened(data, names=names) == values
    assert SecretsGiven(attempt=1, sealed=data)
    assert PLAIN_BYTES_MAX < SEALED_BYTES_MAX
