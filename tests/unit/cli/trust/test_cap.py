"""Delegations are made, kept, explained and taken back from the command line."""

import json
from pathlib import Path

import pytest

from nunet_node.cli.main import run
from nunet_node.cli.trust.documents import documents_of
from nunet_node.identity.did import Documents, parse_did
from nunet_node.identity.errors import UnresolvedDidError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.tokens import keep_token, read_token_text

FRIEND = SigningKey(b"f" * 32).did
JOB = "a" * 32
NOWHERE = f"/ip4/127.0.0.1/tcp/9/p2p/{peer_id_of(FRIEND)}"


@pytest.fixture
def cli(tmp_path, capsys, monkeypatch):
    """Run a command on a home; return its code and its document."""
    monkeypatch.chdir(tmp_path)

    def call(*words, home="home"):
        code = run(["--json", "--home", str(tmp_path / home), *words])
        out, _ = capsys.readouterr()
        return code, json.loads(out)

    return call


@pytest.fixture
def said(tmp_path, capsys, monkeypatch):
    """Run a command on a home; return its code and what it said to a person."""
    monkeypatch.chdir(tmp_path)

    def call(*words, home="home"):
        code = run(["--home", str(tmp_path / home), *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def delegate(cli, *words, home="home", to=FRIEND):
    code, shown = cli(
        *("cap", "delegate", "--to", to, "--can", "/nunet/job", *words), home=home
    )
    assert code == 0, shown
    return shown


def test_a_delegation_says_what_programs_need(cli, tmp_path):
    shown = delegate(cli, "--expires", "7d", "--out", "t")
    assert set(shown) == {"token", "cid", "audience", "expires"}
    assert shown["audience"] == FRIEND
    assert (tmp_path / "t").read_text().strip() == shown["token"]
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_overwritten(cli, tmp_path):
    (tmp_path / "t").write_text("mine")
    code, shown = cli(
        *("cap", "delegate", "--to", FRIEND, "--can", "/nunet", "--out", "t")
    )
    assert (code, (tmp_path / "t").read_text()) == (1, "mine")
    assert "cannot write t" in shown["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "nobody", "--can", "/nunet"),
        ("--to", FRIEND, "--can", "nunet"),
        ("--to", FRIEND, "--can", "/Nunet"),
        ("--to", FRIEND),
        ("--can", "/nunet"),
        ("--to", FRIEND, "--can", "/nunet", "--expires", "soon"),
        ("--to", FRIEND, "--can", "/nunet", "--max-jobs", "-1"),
        ("--to", FRIEND, "--can", "/nunet", "--max-memory", "lots"),
    ],
)
def test_what_is_written_wrong_is_refused(cli, words):
    code, shown = cli("cap", "delegate", *words)
    assert (code, shown["error"]["code"]) == (2, "usage")


def test_what_is_somebody_elses_cannot_be_given(cli):
    code, shown = cli(
        *("cap", "delegate", "--to", FRIEND, "--can", "/nunet", "--owner", FRIEND)
    )
    assert code == 1
    assert "no delegation that is held here" in shown["error"]["message"]


def test_what_was_given_can_be_given_on_with_its_chain(cli):
    team = cli("did", home="team")[1]["did"]
    token = delegate(cli, "--out", "t", to=team)["token"]
    owner = cli("did")[1]["did"]
    code, kept = cli("cap", "add", "t", home="team")
    assert (code, kept["audience"], kept["revoked"]) == (0, team, False)
    again = delegate(cli, "--owner", owner, "--out", "u", home="team")
    assert len(again["token"]) > len(token)
    links = cli("cap", "show", "u")[1]["links"]
    assert [(link["issuer"], link["audience"]) for link in links] == [
        (owner, team),
        (team, FRIEND),
    ]


def test_limits_are_shown_as_conditions_and_a_budget(cli, said):
    delegate(
        *(cli, "--max-cpus", "2", "--max-memory", "1GiB", "--max-jobs", "3"),
        *("--max-runtime", "10m", "--job", JOB, "--out", "t"),
    )
    _, out, _ = said("cap", "show", "t")
    for part in ("jobs 3", "cpu_millis 2000", "memory_bytes 1073741824", "600", JOB):
        assert part in out


def test_a_chain_that_holds_is_explained_link_by_link(cli, said):
    delegate(cli, "--out", "t")
    code, out, _ = said("cap", "explain", "t", home="other")
    assert code == 0
    assert f"allows {FRIEND} to use /nunet/job of" in out
    assert out.endswith("holds\nthe chain holds\n")


def test_the_link_that_fails_is_named_with_its_reason(cli, said):
    delegate(cli, "--out", "t")
    code, out, _ = said("cap", "explain", "t", "--can", "/nunet/result/read")
    assert code == 1
    assert "fails: a link does not allow this command (InvalidClaim)" in out
    code, shown = cli("cap", "explain", "t", "--can", "/nunet/job/cancel")
    assert (code, shown["valid"]) == (0, True)


def test_a_revoked_link_fails_even_where_no_network_is(cli):
    delegate(cli, "--out", "t")
    code, shown = cli("cap", "revoke", "t", "--bootstrap", NOWHERE)
    assert (code, shown["error"]["code"]) == (1, "network.none")
    code, shown = cli("cap", "explain", "t")
    assert code == 1
    assert shown["links"][0]["faults"][0]["name"] == "Revoked"
    assert [each["revoked"] for each in cli("cap", "list")[1]] == [True]


@pytest.mark.parametrize("command", ["show", "explain"])
def test_it_is_said_that_nobody_could_be_asked(cli, said, command):
    delegate(cli, "--out", "t")
    code, shown = cli("cap", command, "t")
    assert (code, shown["asked"]["answered"]) == (0, [])
    assert "--bootstrap" in shown["asked"]["reason"]
    code, _, err = said("cap", command, "t", "--bootstrap", NOWHERE)
    assert code == 0
    assert "nobody was asked whether it was revoked: no network" in err


def test_only_a_giver_takes_it_back(cli):
    delegate(cli, "--out", "t")
    code, shown = cli("cap", "revoke", "t", "--bootstrap", NOWHERE, home="other")
    assert code == 1
    assert "only a giver can take it back" in shown["error"]["message"]


@pytest.mark.parametrize("command", ["add", "show", "explain", "revoke"])
def test_a_file_that_is_no_token_is_refused(cli, tmp_path, command):
    (tmp_path / "t").write_text("hello")
    for file in ("t", "missing"):
        code, shown = cli("cap", command, file)
        assert code == 1
        assert "Traceback" not in shown["error"]["message"]


def test_a_token_may_stand_in_the_place_of_its_file(cli):
    token = delegate(cli)["token"]
    assert cli("cap", "show", token)[1]["links"][0]["audience"] == FRIEND


def test_an_unknown_job_cannot_be_shared(cli):
    code, shown = cli("share", "nothing", "--to", FRIEND)
    assert (code, shown["error"]["code"]) == (3, "job.unknown")


def test_a_link_can_be_shared_by_its_owner(cli):
    owner, custodian = cli("did")[1]["did"], SigningKey(b"c" * 32).did
    link = f"nunet://{JOB}?owner={owner}&custodian={custodian}"
    code, shown = cli("share", link, "--to", FRIEND, "--out", "t")
    assert (code, shown["audience"]) == (0, FRIEND)
    (given,) = cli("cap", "show", "t")[1]["links"]
    assert given["command"] == "/nunet/result/read"
    assert given["policy"] == [["==", ".job", JOB]]


def test_anothers_link_cannot_be_shared(cli):
    custodian = SigningKey(b"c" * 32).did
    link = f"nunet://{JOB}?owner={FRIEND}&custodian={custodian}"
    code, shown = cli("share", link, "--to", FRIEND)
    assert code == 1
    assert "to give" in shown["error"]["message"]


def test_everything_is_given_only_by_who_says_so(cli, tmp_path):
    words = ("cap", "delegate", "--to", FRIEND, "--can", "/")
    code, shown = cli(*words)
    assert (code, shown["error"]["code"]) == (2, "usage")
    assert "--everything" in shown["error"]["message"]
    assert not list((tmp_path / "home").rglob("*.ucan"))
    code, shown = cli(*words, "--everything")
    assert code == 0
    assert shown["audience"] == FRIEND


@pytest.fixture
def given_by_web(cli, tmp_path):
    """A token that a did:web gave to an identity of the home ``theirs``."""
    cli("did", "create", "web", "--web", "example.org", home="giver")
    taker = cli("did", home="theirs")[1]["did"]
    words = ("--identity", "web", "--out", "t")
    delegate(cli, *words, home="giver", to=taker)
    return str(tmp_path / "t")


def test_a_did_web_needs_no_server_for_what_it_gave_itself(cli, given_by_web):
    for words in (("show",), ("explain",), ("add",)):
        code, shown = cli("cap", *words, given_by_web, home="giver")
        assert code == 0, shown
    code, shown = cli("cap", "list", home="giver")
    assert shown[0]["issuer"] == "did:web:example.org"


def test_no_server_is_asked_about_a_token_unless_that_is_said(cli, given_by_web):
    code, shown = cli("cap", "add", given_by_web, home="theirs")
    assert (code, shown["error"]["code"]) == (1, "identity.unresolved")
    assert "--web" in shown["error"]["message"]
    code, shown = cli("cap", "explain", given_by_web, home="theirs")
    assert (code, shown["valid"]) == (1, False)
    assert "--web" in json.dumps(shown["links"])
    assert cli("cap", "list", home="theirs") == (0, [])


def test_a_token_of_a_did_web_that_was_kept_is_used_without_its_server(
    cli, given_by_web, tmp_path
):
    giver, theirs = open_home(tmp_path / "giver"), open_home(tmp_path / "theirs")
    did = parse_did("did:web:example.org")
    documents = Documents(found={did: giver.known_document("web")})
    text = read_token_text(Path(given_by_web))
    keep_token(theirs, text, documents)

    assert keep_token(theirs, text)[-1].issuer == did
    assert len(cli("cap", "list", home="theirs")[1]) == 1


def test_nothing_is_sealed_to_a_reader_whose_document_is_not_here(tmp_path):
    web = parse_did("did:web:example.org")
    home = open_home(tmp_path / "home")
    with pytest.raises(UnresolvedDidError, match="--web"):
        documents_of(home, (web,), web=False).of(web)
