"""What the node orders of whoever has a key that is not in this process, and hears.

As everywhere, an order names the inputs that answer it. The shell checks a signature
before it becomes an input, so one that comes is one that holds.
"""

from dataclasses import dataclass
from typing import Final

from nunet_node.identity.did import Did

SIGN_S: Final = 90
"""How long a person may take to press the button; a challenge lives 120 s."""

SIGNER_FAILED: Final = "signer.failed"
"""Our own refusal, for a command that nobody signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSignature:
    """Have these bytes signed, in at most `SIGN_S`.

    Answered by `SignatureMade` or `SignatureMissing`, unless it is dropped.
    """

    errand: int
    did: Did
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSignature:
    """Nobody waits for this signature any longer; whoever was asked is let go."""

    errand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureMade:
    """The holder of the key signed what was asked."""

    errand: int
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureMissing:
    """It did not, in time or at all."""

    errand: int
    reason: str


SignatureEffect = AskSignature | DropSignature
SignatureNews = SignatureMade | SignatureMissing
