"""A receipt is checked offline, and what it does not prove is said as plainly."""

import json

import pytest

from nunet_node.cli.main import run
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import seal
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import NOTICE, RECEIPT, Receipt
from nunet_node.wire.cid import Cid

PROVIDER, OWNER = SigningKey(b"p" * 32), SigningKey(b"o" * 32)
PAYLOAD = Receipt(
    job="a" * 32,
    owner=OWNER.did,
    attempt=1,
    spec=Cid.of_raw(b"spec"),
    state=State.COMPLETED,
    engine="process",
    isolation="bubblewrap",
    started_s=1_700_000_000,
    ended_s=1_700_000_010,
    result=Cid.of_raw(b"result"),
    result_bytes=17,
    exit_code=0,
)


def sealed(**changes):
    given = {
        "kind": RECEIPT,
        "signer": PROVIDER,
        "audience": OWNER.did,
        "now_s": 1_700_000_010,
        "ttl_s": 10,
        "nonce": bytes(16),
    }
    return seal(PAYLOAD, **{**given, **changes})


@pytest.fixture
def verify(tmp_path, capsys):
    def call(data, *, as_json=True, name="receipt.cbor"):
        (tmp_path / name).write_bytes(data)
        flags = ["--json"] if as_json else []
        code = run([*flags, "receipt", "verify", str(tmp_path / name)])
        out, err = capsys.readouterr()
        return code, json.loads(out) if as_json else out + err

    return call


def test_a_receipt_says_who_ran_what_for_whom(verify):
    code, shown = verify(sealed())
    assert (code, shown["valid"]) == (0, True)
    assert (shown["provider"], shown["owner"]) == (PROVIDER.did, OWNER.did)
    assert (shown["job"], shown["exit_code"]) == ("a" * 32, 0)
    assert shown["result"] == str(PAYLOAD.result)
    assert shown["proved"]
    assert shown["not_proved"]


def test_people_read_what_was_proved_and_what_was_not(verify):
    code, text = verify(sealed(), as_json=False)
    assert code == 0
    proved, _, rest = text.partition("not proved:")
    assert PROVIDER.did in proved
    assert OWNER.did in proved
    assert "the result is right" in rest


def test_a_receipt_is_good_long_after_it_was_signed(verify):
    assert verify(sealed(ttl_s=1))[0] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        sealed()[:-1] + bytes([sealed()[-1] ^ 1]),
        sealed(kind=NOTICE),
        sealed(audience=PROVIDER.did),
        sealed(network_id="another"),
        sealed() + b"x",
    ],
)
def test_what_is_no_receipt_is_refused(verify, data):
    code, shown = verify(data)
    assert (code, shown["valid"]) == (1, False)
    assert shown["reason"]


def test_a_fetched_result_is_looked_into(tmp_path, capsys):
    (tmp_path / "receipt.cbor").write_bytes(sealed())
    assert run(["--json", "receipt", "verify", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["valid"]


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert run(["receipt", "verify", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err
