"""What the node is given of its users' keys, and how others' signatures come to it."""

import sys

import trio

from nunet_node.identity.keys import AbsentKey, SigningKey
from nunet_node.protocol.signing.events import (
    AskSignature,
    DropSignature,
    SignatureMade,
    SignatureMissing,
)
from nunet_node.runtime.wallet.external import ExternalSigner
from nunet_node.runtime.wallet.keyring import Keyring
from tests.unit.runtime.wallet.test_external import KEY, PROGRAM

WAITING = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[2])
(place / "asked").write_text(str(__import__("os").getpid()))
while not (place / "go").exists():
    time.sleep(0.01)
"""


def external(tmp_path, text=PROGRAM):
    path = tmp_path / "sign.py"
    path.write_text(text)
    command = (sys.executable, str(path), "h", str(tmp_path))
    return ExternalSigner(KEY.did, command)


async def appears(path):
    with trio.fail_after(60):
        while not path.exists() or not path.read_text():
            await trio.sleep(0.01)
    return path.read_text()


class Desk:
    """A desk, and the answers that it gives."""

    def __init__(self, keyring, nursery):
        self._answers, self.answers = trio.open_memory_channel(10)
        self.acts = keyring.desk(self._answers.send, nursery).acts

    def do(self, effect):
        self.acts[type(effect)](effect)


def test_a_key_that_is_here_is_given_as_it_is(tmp_path):
    other = SigningKey(b"o" * 32)
    keyring = Keyring([other, external(tmp_path)])
    assert keyring.users[other.did] is other
    assert keyring.users[KEY.did] == AbsentKey(KEY.did, KEY.algorithm)


def test_a_key_that_is_known_is_not_taken_in_twice(tmp_path):
    keyring = Keyring([KEY])
    keyring.admit([external(tmp_path)])
    assert keyring.users == {KEY.did: KEY}


async def test_what_a_program_signs_comes_back_as_an_input(tmp_path, nursery):
    desk = Desk(Keyring([external(tmp_path)]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    made = SignatureMade(errand=7, signature=KEY.sign(b"m"))
    assert await desk.answers.receive() == made


async def test_a_program_that_fails_is_told_with_its_reason(tmp_path, nursery):
    desk = Desk(Keyring([external(tmp_path, "raise SystemExit(3)")]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    told = await desk.answers.receive()
    assert isinstance(told, SignatureMissing)
    assert "exit code 3" in told.reason


async def test_a_program_that_is_not_there_is_told(tmp_path, nursery):
    absent = ExternalSigner(KEY.did, (str(tmp_path / "none"),))
    desk = Desk(Keyring([absent]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    assert "cannot run" in (await desk.answers.receive()).reason


async def test_other_tasks_go_on_while_a_program_waits(tmp_path, nursery):
    desk = Desk(Keyring([external(tmp_path, WAITING + PROGRAM)]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    await appears(tmp_path / "asked")
    (tmp_path / "go").touch()
    assert isinstance(await desk.answers.receive(), SignatureMade)


async def test_a_program_that_nobody_waits_for_is_ended(tmp_path, nursery):
    desk = Desk(Keyring([external(tmp_path, WAITING)]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    pid = int(await appears(tmp_path / "asked"))
    desk.do(DropSignature(errand=7))
    desk.do(DropSignature(errand=8))
    desk.do(AskSignature(errand=9, did=KEY.did, message=b"n"))
    with trio.fail_after(60):
        while running(pid):
            await trio.sleep(0.01)
    (tmp_path / "go").touch()
    assert (await desk.answers.receive()).errand == 9


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_program_that_takes_too_long_is_ended(
    tmp_path, nursery, autojump_clock
):
    desk = Desk(Keyring([external(tmp_path, WAITING)]), nursery)
    desk.do(AskSignature(errand=7, did=KEY.did, message=b"m"))
    assert "did not sign within" in (await desk.answers.receive()).reason
