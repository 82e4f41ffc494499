"""A signer that is another program: a hardware key, a browser wallet, an agent.

The program gets one line of JSON on its standard input, ``{"did", "message"}``, the
message in base64, and prints one line, ``{"signature"}``, 64 bytes in base64. Rule:
its answer is checked against the DID before it is used, so a wrong or a lying program
cannot make us say what does not verify.

Signing waits for the program, and with it this process: a person may have to press a
button. It is meant for commands, not for a node that serves others.
"""

import base64
import binascii
import json
import subprocess
from collections.abc import Sequence
from typing import ClassVar, Final

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, Relationship, key_for
from nunet_node.storage.files import why

SIGN_S: Final = 90
"""How long a person may take to press the button; a challenge lives 120 s."""

ANSWER_CHARS_MAX: Final = 1_024
"""Longest answer that is read; a signature takes 88 characters."""


class SignerError(PeerError):
    """The program that signs did not."""

    code: ClassVar[str] = "signer.failed"


class ExternalSigner:
    """Signs under a DID by asking a program."""

    def __init__(self, did: Did, command: Sequence[str]) -> None:
        self.did = did
        self._key = key_for(did, Relationship.AUTHENTICATION)
        self.algorithm = self._key.algorithm
        self._command = tuple(command)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature over these bytes.

        Raises:
            SignerError: the program failed, took too long, or signed as another.
        """
        asked = {"did": self.did, "message": base64.b64encode(message).decode()}
        try:
            done = subprocess.run(  # noqa: S603 - the command is the user's own
                self._command,
                input=(json.dumps(asked) + "\n").encode(),
                stdout=subprocess.PIPE,
                timeout=SIGN_S,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise SignerError(
                f"{self._command[0]} did not sign within {SIGN_S} s"
            ) from None
        except subprocess.CalledProcessError as error:
            raise SignerError(
                f"{self._command[0]} failed with exit code {error.returncode}"
            ) from None
        except OSError as error:
            raise SignerError(f"cannot run {self._command[0]}: {why(error)}") from None
        signature = _signature(done.stdout)
        if not self._key.verify(message, signature):
            raise SignerError(f"{self._command[0]} did not sign as {self.did}")
        return signature

    def __repr__(self) -> str:
        return f"ExternalSigner({self.did})"


def _signature(answer: bytes) -> bytes:
    try:
        plain = json.loads(answer[:ANSWER_CHARS_MAX])
        return base64.b64decode(plain["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise SignerError("the program that signs answered something else") from None
