"""Commands to providers, each by the same four steps.

Reach the provider; ask for a challenge for exactly this request; check that the
challenge is about this request, to this node, from this peer; sign the command
with the challenge's digest in it. One signature answers the challenge and asks
for the operation. Nothing is ever signed that a provider composed.
"""

from collections.abc import Mapping
from typing import Any, Final

from nunet_node.capability.delegation import Delegation, open_delegation
from nunet_node.capability.envelope import completed
from nunet_node.capability.invocation import request_digest, seal_invocation
from nunet_node.errors import PeerError
from nunet_node.identity.challenge import (
    SESSION_CHALLENGES_MAX,
    Challenge,
    challenge_digest,
    check_challenge,
)
from nunet_node.identity.did import VOUCHED, Did
from nunet_node.identity.keys import AbsentKey
from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import JobId
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import (
    CancelTimer,
    Challenged,
    SetTimer,
)
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.messages import (
    LOGS,
    READ,
    SUBMIT,
    WATCH,
    ChallengeWanted,
    Invoke,
)
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import ReplicaWanted
from nunet_node.protocol.requester.memory import (
    Errand,
    Mandate,
    Memory,
    Outcome,
    Step,
)
from nunet_node.protocol.sessions import NONCE_BYTES
from nunet_node.protocol.signing.absence import (
    SIGNING,
    ask_signature,
    waits_for_key,
)
from nunet_node.protocol.signing.events import (
    DropSignature,
    SignatureMade,
    SignatureMissing,
)
from nunet_node.protocol.turn import Turn

ERRAND_TIMER: Final = "errand"

ERRAND_S: Final = 30
"""Time for a command and its answer; killing a process tree fits in."""

_CHALLENGED: Final = frozenset({Step.CHALLENGE_ASKED, Step.SIGNING})
"""Steps in which the provider holds a challenge for us."""

COMMAND_TTL_S: Final = 120
"""How long a signed command may be presented: as long as its challenge."""


def begin(
    memory: Memory, turn: Turn, order: Order, command: str, args: Mapping[str, Any]
) -> bool:
    """Send a command to the order's custodian; tell whether that is possible."""
    award, now_s = order.award, turn.now.unix_s
    about: dict[str, Any] = {"job": order.job, **args}
    beside = memory.admission(order, about, now_s) if command == SUBMIT else ()
    if beside:
        about["admission"] = tuple(link.cid for link in beside)
    allowed = memory.allowance(order, now_s) if command == SUBMIT else None
    if allowed and not isinstance(allowed[0].signer, AbsentKey):
        beside = (*beside, *_allow(about, *allowed))
        allowed = None
    mandate = memory.mandate(order, command, about, now_s)
    if award is None or mandate is None:
        return False
    errand = Errand(
        job=order.job,
        command=command,
        provider=award.provider,
        peer_id=award.peer_id,
        addresses=memory.addresses_of(order, turn),
        mandate=mandate,
        args=about,
        beside=beside,
        allowing=allowed[0] if allowed else None,
        draft=allowed[1] if allowed else b"",
    )
    launch(memory, turn, errand)
    return True


def ask_holder(memory: Memory, turn: Turn, order: Order, wanted: ReplicaWanted) -> bool:
    """Ask a holder for a job's result or its logs; tell whether that is possible.

    It answers with the receipt of the job's custodian, whom alone we believe.
    """
    about, command = {"job": order.job}, LOGS if wanted.logs else READ
    mandate = memory.mandate(order, command, about, turn.now.unix_s)
    if order.award is None or mandate is None:
        return False
    errand = Errand(
        job=order.job,
        command=command,
        provider=wanted.holder,
        peer_id=wanted.peer_id,
        addresses=wanted.addresses,
        mandate=mandate,
        args=about,
        answers_as=order.award.provider,
    )
    launch(memory, turn, errand)
    return True


def launch(memory: Memory, turn: Turn, errand: Errand) -> None:
    """Send a command on its way, to whomever and by whatever right it says."""
    errand.number = memory.next_errand
    memory.next_errand += 1
    memory.errands[errand.number] = errand
    if not waits_for_key(memory, errand):
        _start(memory, turn, errand)


def signature(
    memory: Memory, turn: Turn, given: SignatureMade | SignatureMissing
) -> Outcome | None:
    """Go on with an errand that waited for a signature; return its end, if it is."""
    errand = memory.errands.get(given.errand)
    if errand is None or errand.step not in SIGNING:
        return None
    draft, errand.draft = errand.draft, b""
    if isinstance(given, SignatureMissing):
        outcome = Outcome(errand=errand, unsigned=given.reason)
        return _end(memory, turn, outcome)
    data = completed(draft, given.signature)
    if errand.step is Step.SIGNING:
        _set_timer(turn, errand)
        _command(memory, turn, errand, data)
    elif errand.allowing is not None:
        about = dict(errand.args)
        links = _allow(about, errand.allowing, data)
        errand.args, errand.beside = about, (*errand.beside, *links)
        errand.allowing = None
        _start(memory, turn, errand)
    _next_for_key(memory, turn)
    return None


def withdraw(memory: Memory, turn: Turn, order: Order, command: str) -> bool:
    """End an errand that waits for an absent key; tell whether there was one.

    Nothing was commanded by it, and nothing comes of it any more.
    """
    for errand in list(memory.errands.values()):
        about = (errand.job, errand.command) == (order.job, command)
        if about and errand.absent and errand.step is not Step.COMMANDED:
            _end(memory, turn, Outcome(errand=errand))
            return True
    return False


def leave(memory: Memory, turn: Turn, job: JobId) -> None:
    """End what drives an order at a provider that it leaves.

    What is answered later is about a custody that is over: it must not be taken for
    the next provider's word, nor keep us from asking that one meanwhile.
    """
    for errand in list(memory.errands.values()):
        if errand.job == job and errand.command in {SUBMIT, WATCH}:
            _end(memory, turn, Outcome(errand=errand))


def under_way(memory: Memory, order: Order, command: str) -> bool:
    """Tell whether such a command is on its way already."""
    return any(
        e.job == order.job and e.command == command for e in memory.errands.values()
    )


def session_opened(memory: Memory, turn: Turn, session: SessionId) -> None:
    """Go on with every errand that waited for this session."""
    for errand in list(memory.errands.values()):
        if errand.session == session and errand.step is Step.CONNECTING:
            _ask(memory, turn, errand)


def session_lost(
    memory: Memory, turn: Turn, session: SessionId, reason: str
) -> tuple[Outcome, ...]:
    """End every errand that depended on this session."""
    lost = [e for e in memory.errands.values() if e.session == session]
    return tuple(
        _end(memory, turn, Outcome(errand=e, unreachable=reason)) for e in lost
    )


def timed_out(memory: Memory, turn: Turn, number: int) -> Outcome | None:
    """End an errand that took too long."""
    errand = memory.errands.get(number)
    if errand is None or errand.step in SIGNING:
        return None
    return _end(
        memory,
        turn,
        Outcome(errand=errand, unreachable=f"no answer within {ERRAND_S} s"),
    )


def answered(
    memory: Memory, turn: Turn, number: int, body: Any, refusal: Refusal | None
) -> Outcome | None:
    """Take the answer to an errand's last frame; return its end, if this is it."""
    errand = memory.errands.get(number)
    if errand is None:
        return None
    if refusal is not None:
        return _end(memory, turn, Outcome(errand=errand, refusal=refusal))
    if errand.step is Step.CHALLENGE_ASKED:
        if isinstance(body.payload, Challenge):
            return _challenged(memory, turn, errand, body)
        refusal = Refusal(code="challenge.missing", reason="it did not challenge us")
        return _end(memory, turn, Outcome(errand=errand, refusal=refusal))
    if body.issuer != (errand.answers_as or errand.provider):
        refusal = Refusal(code="peer.wrong-issuer", reason="answered by somebody else")
        return _end(memory, turn, Outcome(errand=errand, refusal=refusal))
    return _end(memory, turn, Outcome(errand=errand, answer=body))


def _start(memory: Memory, turn: Turn, errand: Errand) -> None:
    if errand.allowing is not None:
        _have_signed(turn, errand, Step.ALLOWING, errand.allowing.signer.did)
        return
    errand.step = Step.CONNECTING
    _set_timer(turn, errand)
    errand.session, is_open = memory.reach(turn, errand.peer_id, errand.addresses)
    if is_open:
        _ask(memory, turn, errand)


def _allow(
    about: dict[str, Any], giver: Mandate, data: bytes
) -> tuple[Delegation, ...]:
    """Name the links of an allowance among a command's arguments; return them."""
    links = (*giver.proofs, open_delegation(data, VOUCHED))
    about["mandate"] = tuple(link.cid for link in links)
    return links


def _next_for_key(memory: Memory, turn: Turn) -> None:
    """Begin what waited for absent keys that nothing is at any longer."""
    for errand in list(memory.errands.values()):
        if errand.step is Step.QUEUED and not waits_for_key(memory, errand):
            _start(memory, turn, errand)


def _have_signed(turn: Turn, errand: Errand, step: Step, did: Did) -> None:
    """Have the draft signed; whoever does that keeps the time."""
    errand.step = step
    turn.do(CancelTimer(name=f"{ERRAND_TIMER}:{errand.number}"))
    ask_signature(turn, errand, did)


def _set_timer(turn: Turn, errand: Errand) -> None:
    turn.do(
        SetTimer(name=f"{ERRAND_TIMER}:{errand.number}", at_ns=turn.after_s(ERRAND_S))
    )


def _ask(memory: Memory, turn: Turn, errand: Errand) -> None:
    """Ask for a challenge; wait if the provider would find that we hold too many."""
    beside = [e for e in memory.errands.values() if e.session == errand.session]
    asked = sum(e.step in _CHALLENGED for e in beside)
    if asked >= SESSION_CHALLENGES_MAX:
        return
    errand.step = Step.CHALLENGE_ASKED
    wanted = ChallengeWanted(
        subject=errand.mandate.signer.did,
        command=errand.command,
        request_digest=_digest(errand),
    )
    _send(memory, turn, errand, wanted)


def _ask_next(memory: Memory, turn: Turn, session: SessionId) -> None:
    """Let the next errand ask that waited for another's challenge to be spent."""
    if memory.sessions.get(session) is None:
        return
    for errand in memory.errands.values():
        if errand.session == session and errand.step is Step.CONNECTING:
            _ask(memory, turn, errand)
            return


def _challenged(
    memory: Memory, turn: Turn, errand: Errand, heard: Statement[Challenge]
) -> Outcome | None:
    try:
        check_challenge(
            heard,
            dialled=errand.provider,
            own_peer=memory.peer_id,
            subject=errand.mandate.signer.did,
            command=errand.command,
            request_digest=_digest(errand),
        )
    except PeerError as error:
        refusal = Refusal(code=error.code, reason=str(error))
        return _end(memory, turn, Outcome(errand=errand, refusal=refusal))
    mandate = errand.mandate
    data = seal_invocation(
        signer=mandate.signer,
        subject=mandate.subject,
        audience=errand.provider,
        command=errand.command,
        args={**errand.args, "challenge": challenge_digest(heard.data)},
        nonce=memory.nonce(NONCE_BYTES),
        expires_at_s=turn.now.unix_s + COMMAND_TTL_S,
        proofs=[link.cid for link in mandate.proofs],
    )
    if isinstance(mandate.signer, AbsentKey):
        errand.draft = data
        _have_signed(turn, errand, Step.SIGNING, mandate.signer.did)
    else:
        _command(memory, turn, errand, data)
    return None


def _command(memory: Memory, turn: Turn, errand: Errand, data: bytes) -> None:
    errand.step = Step.COMMANDED
    links = {link.cid: link.data for link in (*errand.mandate.proofs, *errand.beside)}
    invoke = Invoke(invocation=data, proofs=tuple(links.values()))
    _send(memory, turn, errand, invoke)
    turn.tell(
        Challenged(job=errand.job, provider=errand.provider, command=errand.command)
    )
    _ask_next(memory, turn, errand.session)


def _send(
    memory: Memory, turn: Turn, errand: Errand, body: ChallengeWanted | Invoke
) -> None:
    frame = memory.sessions.send(turn, errand.session, body)
    if frame is not None:
        memory.questions[errand.session, frame] = ("errand", errand.number)


def _end(memory: Memory, turn: Turn, outcome: Outcome) -> Outcome:
    errand = outcome.errand
    memory.errands.pop(errand.number, None)
    turn.do(CancelTimer(name=f"{ERRAND_TIMER}:{errand.number}"))
    if errand.draft and errand.step in SIGNING:
        turn.do(DropSignature(errand=errand.number))
    if errand.step in _CHALLENGED:
        _ask_next(memory, turn, errand.session)
    if errand.absent and errand.step is not Step.COMMANDED:
        _next_for_key(memory, turn)
    return outcome


def _digest(errand: Errand) -> bytes:
    signer, subject = errand.mandate.signer, errand.mandate.subject
    return request_digest(
        signer.did, subject, errand.provider, errand.command, errand.args
    )
