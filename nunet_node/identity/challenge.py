"""The challenge that precedes every command.

The node that is asked makes a signed challenge; the one who asks checks that it is
about this very request, to this very node, and puts its digest into the signed
command. One signature so answers the challenge and asks for the operation.

Rule: a challenge is spent when it is first presented, even if what it is presented
with fails; it dies with its session, and, since each boot has its own id and its own
book, with the process. What is remembered is therefore bounded. (Compare
draft-sabadello-did-challenge-sasl-01, and CAIP-122's rule against phishing.)
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from nunet_node.errors import MisuseError
from nunet_node.identity.did import DID_CHARS_MAX, Did
from nunet_node.identity.errors import ChallengeError
from nunet_node.identity.keys import Signer
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import NETWORK_ID, Statement, seal
from nunet_node.quantities import Now
from nunet_node.wire.schema import Record

CHALLENGE_KIND: Final = "challenge"
"""The kind of statement that a challenge is."""

CHALLENGE_TTL_S: Final = 120
"""How long a challenge may be answered: time to type a passphrase, no more."""

SESSION_CHALLENGES_MAX: Final = 8
"""Most challenges open in one session: one for each command under way, and a peer
that opens more is not asking for work."""

CHALLENGES_MAX: Final = 16_384
"""Most challenges open at once, about 16 MiB: as many as all sessions of a node may
have open, so that nobody's commands wait because others ask for challenges and never
answer them."""

PEER_ID_CHARS_MAX: Final = 64
"""Longest peer id in a challenge; an Ed25519 key's has 52 characters."""

COMMAND_CHARS_MAX: Final = 128
"""Longest command in a challenge, as of every command that is read."""

_NS_PER_S: Final = 1_000_000_000

Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""A random id."""

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""A digest, or a nonce nobody can guess."""

DidText = Annotated[str, msgspec.Meta(min_length=1, max_length=DID_CHARS_MAX)]
PeerIdText = Annotated[str, msgspec.Meta(min_length=1, max_length=PEER_ID_CHARS_MAX)]
CommandText = Annotated[str, msgspec.Meta(min_length=1, max_length=COMMAND_CHARS_MAX)]


class Challenge(Record):
    """What the asked node wants repeated under the asking user's signature."""

    nonce: Bytes32
    verifier: DidText
    """The DID of the node that is asked."""
    subject: DidText
    """The DID that has to sign the command."""
    verifier_peer: PeerIdText
    subject_peer: PeerIdText
    """The peer that the challenge was sent to; the command must come from it."""
    command: CommandText
    request_digest: Bytes32
    """The digest of the command without its challenge."""
    boot: Bytes16
    """The id of the verifier's process: a restart voids every challenge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a challenge was not made or not accepted; ``code`` is protocol."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedChallenge:
    """A challenge that is open: the statement to send, and what it says."""

    data: bytes
    digest: bytes
    challenge: Challenge


@dataclass(frozen=True, slots=True)
class _Open:
    session: str
    challenge: Challenge
    deadline_ns: int


def challenge_digest(data: bytes) -> bytes:
    """Return what a command must carry to answer the challenge in these bytes."""
    return hashlib.sha256(data).digest()


class ChallengeBook:
    """The challenges that are open, of one node in one boot."""

    def __init__(
        self,
        *,
        signer: Signer,
        boot: bytes,
        network_id: str = NETWORK_ID,
    ) -> None:
        self._signer = signer
        self._peer = peer_id_of(signer.did)
        self._boot = boot
        self._network_id = network_id
        self._open: dict[bytes, _Open] = {}
        self._sessions: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def issue(  # noqa: PLR0913 - each is something that the challenge binds
        self,
        session: str,
        *,
        subject: Did,
        subject_peer: str,
        command: str,
        request_digest: bytes,
        nonce: bytes,
        now: Now,
    ) -> IssuedChallenge | Refusal:
        """Make a challenge for one request of one session.

        Args:
            session: the session's name, the same when the challenge is spent.
            subject: the DID that will have to sign.
            subject_peer: the peer at the other end of the session.
            command: what it wants done.
            request_digest: the digest of the request without a challenge.
            nonce: 32 fresh random bytes.
            now: both clocks; expiry is judged by the one that never steps.
        """
        self._forget_expired(now)
        if len(self._sessions.get(session, ())) >= SESSION_CHALLENGES_MAX:
            return _too_many("this session", SESSION_CHALLENGES_MAX)
        if len(self._open) >= CHALLENGES_MAX:
            return _too_many("this node", CHALLENGES_MAX)
        challenge = Challenge(
            nonce=nonce,
            verifier=self._signer.did,
            subject=subject,
            verifier_peer=self._peer,
            subject_peer=subject_peer,
            command=command,
            request_digest=request_digest,
            boot=self._boot,
        )
        return self._remember(session, challenge, now)

    def spend(self, session: str, digest: bytes, now: Now) -> Challenge | Refusal:
        """Return the challenge with this digest, which is spent from now on.

        It is for the caller to compare the challenge with the command; whether that
        succeeds or not, the challenge cannot be presented again.
        """
        entry = self._open.get(digest)
        if entry is None or entry.session != session:
            return Refusal(code="challenge.unknown", detail="no such challenge is open")
        self._forget(digest, entry)
        if now.elapsed_ns > entry.deadline_ns:
            return Refusal(code="challenge.expired", detail="the challenge has expired")
        return entry.challenge

    def end_session(self, session: str) -> None:
        """Void every challenge of a session that has ended."""
        for digest in self._sessions.pop(session, ()):
            del self._open[digest]

    def _remember(
        self, session: str, challenge: Challenge, now: Now
    ) -> IssuedChallenge:
        data = seal(
            challenge,
            kind=CHALLENGE_KIND,
            signer=self._signer,
            audience=challenge.subject,
            now_s=now.unix_s,
            ttl_s=CHALLENGE_TTL_S,
            nonce=challenge.nonce[:16],
            network_id=self._network_id,
        )
        digest = challenge_digest(data)
        if digest in self._open:
            raise MisuseError("a challenge's nonce was used twice")
        deadline_ns = now.elapsed_ns + CHALLENGE_TTL_S * _NS_PER_S
        self._open[digest] = _Open(session, challenge, deadline_ns)
        self._sessions.setdefault(session, set()).add(digest)
        return IssuedChallenge(data=data, digest=digest, challenge=challenge)

    def _forget_expired(self, now: Now) -> None:
        # Every challenge lives equally long and time never steps back, so the open
        # ones stand in the order in which they expire.
        while self._open:
            digest, entry = next(iter(self._open.items()))
            if now.elapsed_ns <= entry.deadline_ns:
                return
            self._forget(digest, entry)

    def _forget(self, digest: bytes, entry: _Open) -> None:
        del self._open[digest]
        digests = self._sessions[entry.session]
        digests.discard(digest)
        if not digests:
            del self._sessions[entry.session]


def check_challenge(
    statement: Statement[Challenge],
    *,
    dialled: Did,
    own_peer: str,
    subject: Did,
    command: str,
    request_digest: bytes,
) -> None:
    """Check, before answering, that a challenge is about what is being asked.

    A node that forwards another's challenge is found out here: the challenge names
    the node that made it, and that is not the one that was dialled.

    Raises:
        ChallengeError: it is about something else; answering could be misused.
    """
    challenge = statement.payload
    if statement.issuer != dialled:
        raise ChallengeError("the challenge was not made by the node that was dialled")
    mismatch = answer_mismatch(
        challenge, subject=subject, command=command, request_digest=request_digest
    )
    if mismatch is not None:
        raise ChallengeError(mismatch.detail)
    if challenge.verifier != dialled or challenge.verifier_peer != peer_id_of(dialled):
        raise ChallengeError("the challenge names another node")
    if challenge.subject_peer != own_peer:
        raise ChallengeError("the challenge was made for another peer")


def answer_mismatch(
    challenge: Challenge,
    *,
    subject: str,
    command: str,
    request_digest: bytes,
) -> Refusal | None:
    """Return why a signed command does not answer a challenge, if it does not."""
    if challenge.subject != subject:
        return _mismatch("the challenge is for another DID")
    if challenge.command != command:
        return _mismatch("the challenge is for another command")
    if challenge.request_digest != request_digest:
        return _mismatch("the challenge is for another request")
    return None


def _mismatch(detail: str) -> Refusal:
    return Refusal(code="challenge.mismatch", detail=detail)


def _too_many(where: str, most: int) -> Refusal:
    return Refusal(
        code="challenge.too-many", detail=f"{where} has {most} open challenges"
    )
