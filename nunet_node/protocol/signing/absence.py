"""Commands whose key is not in this process: asking for signatures, one at a time.

A person signs one thing after the other, and a challenge that waited for its turn
would be too old by then; so what waits for a key waits before it asks for anything.
"""

from typing import Final

from nunet_node.capability.envelope import message_of
from nunet_node.identity.did import Did
from nunet_node.protocol.effects import SignatureWanted
from nunet_node.protocol.requester.memory import Errand, Memory, Step
from nunet_node.protocol.signing.events import AskSignature, DropSignature
from nunet_node.protocol.turn import Turn

SIGNING: Final = frozenset({Step.ALLOWING, Step.SIGNING})
"""Steps in which somebody is asked to sign."""

_NOT_AT_KEY: Final = frozenset({Step.QUEUED, Step.COMMANDED})


def waits_for_key(memory: Memory, errand: Errand) -> bool:
    """Tell whether another command is at an absent key that this one needs."""
    return bool(errand.absent) and any(
        each.step not in _NOT_AT_KEY and each.absent & errand.absent
        for each in memory.errands.values()
    )


def ask_signature(turn: Turn, errand: Errand, did: Did) -> None:
    """Have the draft of an errand signed under this DID."""
    message = message_of(errand.draft)
    turn.do(AskSignature(errand=errand.number, did=did, message=message))
    turn.tell(SignatureWanted(job=errand.job, did=did, command=errand.command))


def drop_signatures(memory: Memory, turn: Turn) -> None:
    """Let go of everybody who was asked to sign."""
    for errand in memory.errands.values():
        if errand.step in SIGNING:
            turn.do(DropSignature(errand=errand.number))
