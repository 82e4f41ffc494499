"""Identities are made, shown and moved, and never overwritten or printed."""

import io
import json
import stat

import pytest

from nunet_node.cli.main import run
from nunet_node.identity.did import did_of_ed25519
from nunet_node.identity.errors import LockedError, WalletError
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.wallet.passphrase import PASSPHRASE_VARIABLE
from tests.unit.identity.safe.test_openssh import (
    MADE_BY_OPENSSH,
    MADE_PUBLIC,
    PASSPHRASE,
)


@pytest.fixture
def did(tmp_path, capsys):
    """Run ``did`` on a home, and return its document."""

    def call(*words, home="home"):
        code = run(["--json", "--home", str(tmp_path / home), "did", *words])
        out, _ = capsys.readouterr()
        return code, json.loads(out)

    call.folder = tmp_path
    return call


def test_the_first_command_makes_an_identity_and_says_so(tmp_path, capsys):
    assert run(["--home", str(tmp_path / "h"), "did"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("did:key:z6Mk")
    assert "made identity 'default'" in err


def test_two_first_commands_at_once_share_one_identity(tmp_path, monkeypatch, capsys):
    home = open_home(tmp_path / "h")
    make = Home.new_identity

    def make_after_another(self, name):
        make(self, name)
        return make(self, name)

    monkeypatch.setattr(Home, "new_identity", make_after_another)
    assert run(["--home", str(tmp_path / "h"), "did"]) == 0
    assert capsys.readouterr().out.strip() == home.identity("default").did


def test_the_identity_stays_the_same_and_its_file_is_private(did, tmp_path):
    _, first = did()
    _, again = did()

    assert first == again
    assert first["name"] == "default"
    path = tmp_path / "home/identities/default.id"
    assert first["path"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_identities_have_names(did):
    did("create", "work")

    code, shown = did("--identity", "work")
    assert (code, shown["name"]) == (0, "work")
    assert [each["name"] for each in did("list")[1]] == ["work"]


def test_an_identity_is_never_overwritten(did):
    _, first = did("create", "work")
    code, refused = did("create", "work")

    assert code == 1
    assert "not overwritten" in refused["error"]["message"]
    assert did("--identity", "work")[1] == first


def test_an_unknown_identity_is_not_made(did):
    code, shown = did("--identity", "nobody")

    assert code == 1
    assert "did create nobody" in shown["error"]["message"]


def test_an_identity_moves_to_another_home_by_a_private_file(did, tmp_path):
    _, mine = did()
    file = tmp_path / "key.id"
    code, exported = did("export", "--out", str(file))
    assert (code, exported["path"]) == (0, str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    _, there = did("import", str(file), home="other")
    assert there["did"] == mine["did"]


def test_an_export_overwrites_nothing(did, tmp_path):
    did()
    file = tmp_path / "key.id"
    file.write_text("precious")

    code, _ = did("export", "--out", str(file))
    assert (code, file.read_text()) == (1, "precious")


def test_an_identity_is_read_from_standard_input(did, tmp_path, monkeypatch):
    _, mine = did()
    did("export", "--out", str(tmp_path / "key.id"))
    text = (tmp_path / "key.id").read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    code, there = did("import", "-", "--name", "laptop", home="other")
    assert (code, there["did"], there["name"]) == (0, mine["did"], "laptop")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"x" * 10_000])
def test_a_damaged_identity_file_is_refused_by_name(did, tmp_path, data):
    file = tmp_path / "bad.id"
    file.write_bytes(data)

    code, shown = did("import", str(file))
    assert code == 1
    assert str(file) in shown["error"]["message"]


def test_no_secret_is_ever_printed(did, tmp_path, capsys):
    did()
    did("export", "--out", str(tmp_path / "key.id"))
    seed = json.loads((tmp_path / "key.id").read_text())["seed"]
    run(["--home", str(tmp_path / "home"), "-vv", "did", "list"])
    run(["--home", str(tmp_path / "home"), "-vv", "did"])

    out, err = capsys.readouterr()
    assert seed not in out + err


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".x"])
def test_a_name_cannot_leave_the_home(did, name):
    assert did("create", name)[0] in (1, 2)


def test_an_openssh_key_is_imported_with_its_passphrase(did, tmp_path, monkeypatch):
    (tmp_path / "id_ed25519").write_text(MADE_BY_OPENSSH)
    file = str(tmp_path / "id_ed25519")
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, told = did("import", file)
    assert (code, told["error"]["code"]) == (1, LockedError.code)
    assert PASSPHRASE_VARIABLE in told["error"]["message"]

    monkeypatch.setenv(PASSPHRASE_VARIABLE, "incorrect horse")
    code, told = did("import", file)
    assert (code, told["error"]["code"]) == (1, WalletError.code)
    assert "another passphrase" in told["error"]["message"]

    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE)
    code, shown = did("import", file, "--name", "mine")
    assert code == 0
    assert shown["did"] == did_of_ed25519(MADE_PUBLIC)


def test_an_identity_is_a_did_web_and_prints_what_to_publish(did, capsys):
    _, made = did("create", "web", "--web", "example.org/people/alice")
    assert made["did"] == "did:web:example.org:people:alice"
    _, shown = did("show", "web", "--document")
    assert shown["id"] == made["did"]
    assert len(shown["verificationMethod"]) == 2
    assert all(shown[use] for use in ("authentication", "capabilityDelegation"))

    _, moved = did("export", "web", "--out", str(did.folder / "web.id"))
    _, taken = did("import", moved["path"], home="other")
    assert taken["did"] == made["did"]
    assert did("show", "web", "--document", home="other")[1] == shown


@pytest.mark.parametrize(
    "words",
    [
        ("--web", "127.0.0.1"),
        ("--web", "localhost"),
        ("--web", "did:key:z6MkhZZgNCLWwB5VTVLzv2wyTiJzSBSfH1xu1Z2JuWYriLDr"),
        ("--web", "example.org", "--curve", "P-256"),
        ("--signer", "true", "--did", "did:web:example.org"),
    ],
)
def test_what_cannot_be_a_did_web_is_not_made(did, words):
    code, _ = did("create", "web", *words)
    assert code != 0
    assert did("list") == (0, [])


def test_a_program_signs_for_a_did_web_with_the_key_that_it_names(did):
    key_did = did("create", "key")[1]["did"]
    words = ("--signer", "true", "--did", key_did, "--web", "example.org")
    assert did("create", "hw", *words)[1]["did"] == "did:web:example.org"
    _, shown = did("show", "hw", "--document")
    assert shown["authentication"][0].endswith(key_did.removeprefix("did:key:"))


@pytest.mark.parametrize("words", [("show", "a/b"), ("export", ""), ("import", "")])
def test_a_word_that_names_nothing_is_a_mistake_in_writing(did, words):
    code, told = did(*words)
    assert (code, told["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("signer", ["", "a 'b"])
def test_a_signer_that_is_no_command_is_a_mistake_in_writing(did, signer):
    key_did = did("create", "key")[1]["did"]
    code, told = did("create", "hw", "--signer", signer, "--did", key_did)
    assert (code, told["error"]["code"]) == (2, "usage")
    assert "--signer" in told["error"]["message"]
