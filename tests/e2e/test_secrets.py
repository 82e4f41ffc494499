"""What is secret is said nowhere, however much is said.

Keys, a passphrase, a result's key and a job's variables are planted, everything is
done with them that a user does, and then whatever any process wrote is searched: what
it said at each verbosity, and every file that it left.
"""

import base64
import json
from pathlib import Path

import pytest

from nunet_node.identity.statement import open_statement
from nunet_node.identity.wallet import decode_identity
from nunet_node.jobs.statements import RECEIPT, Receipt
from nunet_node.results.sealing import unwrap_key
from nunet_node.runtime.home import open_home
from tests.e2e.network import (
    LOOPBACK,
    USAGE,
    Finished,
    Network,
    Node,
    Running,
    User,
)

PASSPHRASE = "correct horse battery marker"
VARIABLE = "variable-marker-5d1f"


def forms(secret: bytes) -> set[bytes]:
    """Return every way in which somebody might write these bytes."""
    return {
        secret,
        repr(secret).encode()[2:-1],
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        base64.b32encode(secret).rstrip(b"="),
        str(list(secret)).encode(),
    }


def found(secret: bytes, home: Path) -> set[str]:
    """Return the files of a home in which a secret stands, in any form."""
    files = [path for path in home.rglob("*") if path.is_file()]
    return {
        path.relative_to(home).as_posix()
        for path in files
        if any(form in path.read_bytes() for form in forms(secret))
    }


def run(user: User, *words: object) -> Finished:
    """Run a command of somebody whose keys are under a passphrase."""
    within = ("env", f"NUNET_PASSPHRASE={PASSPHRASE}")
    running = Running(user.home, words, user.cwd, as_json=True, within=within)
    user.finally_(running.kill)
    return running.finished().must()


def noisy(net: Network, verbosity: tuple[str, ...]) -> Node:
    """Start a provider that says as much as it can."""
    place = net.directory / "noisy"
    place.mkdir()
    offer = ("--cpus", 2, "--memory", "1GiB", "--disk", "1GiB")
    words = (*verbosity, "up", "--listen", LOOPBACK, "--no-mdns", *offer)
    node = Node(place / "home", words, place)
    net.finally_(node.kill)
    return node


def key_of_result(user: User, seed_file: Path) -> bytes:
    """Return the key that the result of a job is sealed with."""
    [path] = user.cwd.glob("result/receipt*")
    receipt = open_statement(
        path.read_bytes(),
        kind=RECEIPT,
        payload_type=Receipt,
        now_s=0,
        audience=None,
        check_time=False,
    ).payload
    key = decode_identity(seed_file.read_text(), PASSPHRASE).key
    return unwrap_key(
        receipt.sealed_key,
        reader=key.did,
        reader_secret=key.key_agreement_secret(),
        job=receipt.job,
        root=receipt.result,
    )


@pytest.mark.parametrize("verbosity", [(), ("-v", "-v")], ids=["plain", "all"])
def test_no_secret_is_said_or_left_where_it_does_not_belong(net: Network, verbosity):
    provider = noisy(net, verbosity)
    user, friend = net.user(provider), net.user(provider)
    said = [run(user, *verbosity, "did", "create", "default", "--passphrase")]
    identity = Path(said[0].document["path"])
    joined = ("--bootstrap", provider.address)
    words = ("--name", "result", "--env", f"PLANTED={VARIABLE}", "--", "true")
    said.append(run(user, *verbosity, "submit", *joined, *words))
    job = said[-1].document["job"]
    token = friend.cwd / "token"
    share = ("--to", friend.did(), "--out", token)
    said.append(run(user, *verbosity, "share", job, *share))
    said.append(friend.run(*verbosity, "get", token, "--out", "got", *joined).must())
    said.append(run(user, *verbosity, "cap", "revoke", token, *joined))
    key = key_of_result(user, identity)
    said.append(provider.stop())

    seed = decode_identity(identity.read_text(), PASSPHRASE).key.seed
    own = json.loads((provider.home / "node.key").read_text())["seed"]
    for secret in (seed, base64.b64decode(own), PASSPHRASE.encode(), key):
        for each in said:
            text = (each.out + each.err).encode()
            assert not any(form in text for form in forms(secret)), each.words
    for each in said:
        assert VARIABLE not in each.err, each.words
        assert token.read_text().strip() not in each.err, each.words
    assert VARIABLE not in said[-1].out
    for home in (user.home, provider.home, friend.home):
        assert found(seed, home) == set()
        assert found(PASSPHRASE.encode(), home) == set()
        assert found(key, home) == set()
        assert found(base64.b64decode(own), home) <= {"node.key"}
    assert found(base64.b64decode(own), provider.home) == {"node.key"}


TOLD = "job-secret-marker-81c3"
QUEUED = "job-secret-marker-e02f"


def everywhere(secret: bytes, *homes: Path) -> set[str]:
    """Return where a secret stands: in a home, in scratch, in memory's own files."""
    places = [*homes, open_home(homes[0]).scratch(), Path("/dev/shm")]
    files = {f"{place}/{name}" for place in places for name in found(secret, place)}
    processes = Path("/proc").glob("[0-9]*")
    shown = (path / name for path in processes for name in ("cmdline", "environ"))
    return files | {str(path) for path in shown if secret in bytes_of(path)}


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_jobs_secret_is_nowhere_but_at_its_source_and_in_the_job(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    user.write("told.txt", TOLD)
    user.write("queued.txt", QUEUED)
    words = ("--secret", "TOLD=@told.txt", "--", "sh", "-c")
    read = 'rev "$NUNET_JOB_SECRETS/TOLD" > out; cat out'
    done = user.submit("--name", "done", *words, read).must()
    kept = user.cwd / "done/outputs/out"
    assert kept.read_text().strip() == TOLD[::-1]

    running = user.detached(*words, f"{read}; sleep 600")["job"]
    provider.moved(running, "running")
    waits = user.detached("--secret", "QUEUED=@queued.txt", "--", "sleep", "1")["job"]
    assert user.status(waits)["state"] == "queued"
    for secret in (TOLD.encode(), QUEUED.encode()):
        assert everywhere(secret, provider.home, user.home) == set()
        assert secret.decode() not in done.out + done.err + str(provider)

    provider.kill()
    for secret in (TOLD.encode(), QUEUED.encode()):
        assert everywhere(secret, provider.home, user.home) == set()


def test_a_secret_in_a_commands_own_words_is_refused_and_not_repeated(user: User):
    refused = user.submit("--secret", f"TOKEN={TOLD}", "--", "true").must(USAGE)
    assert "TOKEN=@FILE" in refused.err
    assert TOLD not in refused.out + refused.err
