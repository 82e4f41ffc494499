"""A peer that says whatever a test wants: the hand of an attacker, or of bad luck.

It speaks frames by itself, so that it can leave out, repeat, alter and relay what a
node never would. What it hears is opened as a node would open it.
"""

import itertools
from dataclasses import dataclass, field

from nunet_node.capability.invocation import request_digest, seal_invocation
from nunet_node.identity.challenge import challenge_digest
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import Statement, seal, topic_audience
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, Advert, EngineOffer
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import ChallengeWanted, Frame, Invoke, Stated
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record, to_plain
from tests.unit.protocol.world import counting_nonce, job_of


@dataclass(eq=False)
class Puppet:
    """A peer without a node; ``user`` is the DID that it may prove."""

    world: object
    number: int
    user: SigningKey | None = None
    heard: list = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """Every frame as it came, also one that was meant for somebody else."""
    answer: object = None
    """Called with the puppet and each frame; what it returns is sent in answer."""
    up: bool = True
    boot: int = 1
    name: str = "puppet"

    def __post_init__(self):
        self.key = SigningKey(bytes([self.number]) * 32)
        self.user = self.user or SigningKey(bytes([100 + self.number]) * 32)
        self.did, self.peer_id = self.key.did, peer_id_of(self.key.did)
        self.sessions, self.even = {}, itertools.count(2, 2)
        self.odd = itertools.count(1, 2)
        self.frames = itertools.count(1)
        self.nonce = counting_nonce(b"puppet" + bytes([self.number]))
        self.world.peers.append(self)

    def give(self, given):
        if isinstance(given, ins.FrameReceived | ins.FrameRejected):
            self.heard.append(given)
            if self.answer is not None and given.re is None:
                body = self.answer(self, given)
                if body is not None:
                    self.say(given.session, body, re=given.frame)

    def dial(self, peer):
        session = next(self.odd)
        opening = fx.OpenSession(session=session, peer_id=peer.peer_id, addresses=())
        self.world._open(self, opening)
        self.world.run()
        return session

    def say(self, session, body, re=None):
        number = next(self.frames)
        data = encode_record(Frame(id=number, body=body, re=re))
        self.world._send(self, fx.Send(session=session, data=data))
        return number

    def ask(self, session, body):
        """Send a frame and return what answers it: a payload, or the raw input."""
        number = self.say(session, body)
        self.world.run()
        found = [h for h in self.heard if h.session == session and h.re == number]
        assert len(found) == 1, found
        return found[0]

    def challenge(
        self, session, peer, command, args, *, subject=None, on_behalf_of=None
    ):
        """Ask for a challenge and return its bytes."""
        subject = subject or self.user.did
        owner = on_behalf_of or subject
        digest = request_digest(subject, owner, peer.did, command, args)
        wanted = ChallengeWanted(
            subject=subject, command=command, request_digest=digest
        )
        return self.ask(session, wanted).body.data

    def invocation(self, peer, command, args, challenge, **more):
        """Return a signed command that answers the challenge in these bytes."""
        if challenge is not None:
            args = {**args, "challenge": challenge_digest(challenge)}
        given = {
            "signer": self.user,
            "subject": self.user.did,
            "audience": peer.did,
            "command": command,
            "args": args,
            "nonce": self.nonce(16),
            "expires_at_s": self.world.now.unix_s + 120,
        }
        return Invoke(invocation=seal_invocation(**{**given, **more}))

    def command(self, session, peer, command, args, **more):
        """Do as an honest peer does: be challenged, sign, and return the answer."""
        challenge = self.challenge(session, peer, command, args)
        return self.ask(
            session, self.invocation(peer, command, args, challenge, **more)
        )

    def submit_args(self, wanted, *, salt=b"s" * 16, attempt=1, **more):
        given = {
            "job": job_of(self, wanted, salt),
            "attempt": attempt,
            "salt": salt,
            "spec": to_plain(wanted),
        }
        return {**given, **more}

    def state(self, kind, payload, audience, *, ttl_s=100, signer=None):
        data = seal(
            payload,
            kind=kind,
            signer=signer or self.key,
            audience=audience,
            now_s=self.world.now.unix_s,
            ttl_s=ttl_s,
            nonce=self.nonce(16),
        )
        return Stated(statement_kind=kind, data=data)

    def advertise(self, *, cpus=4, sequence=1, price=0, ttl_s=100, **more):
        total = ResourceVector(
            cpu_millis=cpus * 1000, memory_bytes=8 << 30, disk_bytes=8 << 30
        )
        advert = Advert(
            peer_id=self.peer_id,
            addresses=(),
            sequence=sequence,
            engines=(EngineOffer(engine="process", isolation="none", secrets=True),),
            total=total,
            free=total,
            price_micro_ntx=price,
            **more,
        )
        audience = topic_audience(ADVERT_TOPIC)
        said = self.state(ADVERT, advert, audience, ttl_s=ttl_s)
        self.world._publish(self, fx.Publish(topic=ADVERT_TOPIC, data=said.data))
        self.world.run()


def code_of(heard):
    """Return the code of a refusal, however it came; None if it is no refusal."""
    if isinstance(heard, ins.FrameRejected):
        return heard.code
    payload = heard.body.payload if isinstance(heard.body, Statement) else None
    return getattr(payload, "code", None)


def spec_cid(wanted):
    return Cid.of_dag_cbor(encode_record(wanted))
