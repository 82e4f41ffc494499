"""A signer that is another program: a hardware key, a browser wallet, an agent.

The program gets one line of JSON on its standard input, ``{"did", "message"}``, the
message in base64, and prints one line, ``{"signature"}``, 64 bytes in base64. Rule:
its answer is checked against the DID before it is used, so a wrong or a lying program
cannot make us say what does not verify.

A person may have to press a button, so a signature can take long. ``signed`` lets
everything else go on meanwhile; ``sign`` is for commands that do nothing else, and
`for_thread` for what is signed in a thread.
"""

import base64
import binascii
import json
import subprocess
from collections.abc import Sequence
from typing import ClassVar, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, Relationship, key_for
from nunet_node.identity.keys import Signer
from nunet_node.protocol.signing.events import SIGN_S, SIGNER_FAILED
from nunet_node.storage.files import why

ANSWER_CHARS_MAX: Final = 1_024
"""Longest answer that is read; a signature takes 88 characters."""


END_S: Final = 2
"""How long a program may take to put its things in order when it is to end."""


class SignerError(PeerError):
    """The program that signs did not."""

    code: ClassVar[str] = SIGNER_FAILED


class ExternalSigner:
    """Signs under a DID by asking a program."""

    def __init__(
        self, did: Did, command: Sequence[str], key_did: Did | None = None
    ) -> None:
        self.did = did
        # What a did:web's document names just now is for those to ask who are shown
        # the signature.
        self._key = key_for(key_did or did, Relationship.AUTHENTICATION)
        self.algorithm = self._key.algorithm
        self._command = tuple(command)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature over these bytes.

        Raises:
            SignerError: the program failed, took too long, or signed as another.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the command is the user's own
                self._command,
                input=self._question(message),
                stdout=subprocess.PIPE,
                timeout=SIGN_S,
                check=True,
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise self._failure(error) from None
        return self._checked(message, done.stdout)

    async def signed(self, message: bytes) -> bytes:
        """Return what `sign` does, while other tasks go on.

        A program that nobody waits for any longer is ended.

        Raises:
            SignerError: the program failed, took too long, or signed as another.
        """
        try:
            with trio.fail_after(SIGN_S):
                done = await trio.run_process(
                    self._command,
                    stdin=self._question(message),
                    capture_stdout=True,
                    deliver_cancel=_end,
                )
        except (subprocess.SubprocessError, OSError, trio.TooSlowError) as error:
            raise self._failure(error) from None
        return self._checked(message, done.stdout)

    def _question(self, message: bytes) -> bytes:
        asked = {"did": self.did, "message": base64.b64encode(message).decode()}
        return (json.dumps(asked) + "\n").encode()

    def _failure(self, error: Exception) -> SignerError:
        program = self._command[0]
        match error:
            case subprocess.CalledProcessError():
                return SignerError(
                    f"{program} failed with exit code {error.returncode}"
                )
            case OSError():
                return SignerError(f"cannot run {program}: {why(error)}")
            case _:
                return SignerError(f"{program} did not sign within {SIGN_S} s")

    def _checked(self, message: bytes, answer: bytes) -> bytes:
        signature = _signature(answer)
        if not self._key.verify(message, signature):
            raise SignerError(f"{self._command[0]} did not sign as {self.did}")
        return signature

    def __repr__(self) -> str:
        return f"ExternalSigner({self.did})"


class _AskedFromThread:
    """Signs in a thread, and leaves the waiting to the task that waits for that."""

    def __init__(self, signer: ExternalSigner) -> None:
        self.did = signer.did
        self.algorithm = signer.algorithm
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        return trio.from_thread.run(self._signer.signed, message)


def for_thread(signer: Signer) -> Signer:
    """Return a signer for a thread that a task waits for.

    When the task is cancelled, a program that was asked is ended; ``sign`` by itself
    would be waited for. It works in threads that trio started, and nowhere else.
    """
    return _AskedFromThread(signer) if isinstance(signer, ExternalSigner) else signer


async def _end(program: trio.Process) -> None:
    program.terminate()
    with trio.move_on_after(END_S):
        await program.wait()
    program.kill()


def _signature(answer: bytes) -> bytes:
    try:
        plain = json.loads(answer[:ANSWER_CHARS_MAX])
        return base64.b64decode(plain["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise SignerError("the program that signs answered something else") from None
