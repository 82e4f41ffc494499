"""``python -m tests.bench.trust``: what believing a message costs.

The yardstick is libsodium's bare check of one signature over the same bytes; each
round measures everything once, and ratios are taken within a round.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import nacl.bindings

from nunet_node.capability.delegation import open_alone, seal_delegation
from nunet_node.capability.invocation import open_invocation, seal_invocation
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import open_statement, seal
from nunet_node.market.offers import BID, Bid
from nunet_node.protocol.messages import Frame, Stated
from nunet_node.protocol.opening import open_frame
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import read_sign1, to_be_signed
from nunet_node.wire.schema import encode_record
from tests.bench.figures import Figures, table

ROUNDS: Final = 15
COUNT: Final = 400
"""Messages in one sample: a few hundredths of a second."""
CHAINS: Final = 80
LINKS: Final = 5
THREADS: Final = 2
_US: Final = 1_000_000
NOW_S: Final = 1_700_000_000
PEOPLE: Final = [SigningKey(bytes([n + 1]) * 32) for n in range(LINKS + 1)]
NODE: Final = SigningKey(b"n" * 32)

BARE: Final = "bare verify"
OPEN: Final = "open a statement"
FRAME: Final = "open a frame"
BARE_TWO: Final = "bare verify, two threads"
OPEN_TWO: Final = "open a statement, two threads"
CHAIN: Final = f"open a command with {LINKS} new delegations"
SEEN: Final = f"open a command with {LINKS} known delegations"


def _statement() -> bytes:
    bid = Bid(call=bytes(16), price_micro_ntx=1000, starts_in_s=3, isolation="wasm")
    return seal(
        bid,
        kind=BID,
        signer=PEOPLE[0],
        audience=NODE.did,
        now_s=NOW_S,
        ttl_s=60,
        nonce=bytes(16),
    )


def _chain() -> tuple[bytes, dict[Cid, bytes]]:
    """Return a command, and the delegations it leans on."""
    links = [
        seal_delegation(
            signer=giver,
            audience=taker.did,
            subject=PEOPLE[0].did,
            command="/nunet/job",
            nonce=bytes(12),
            expires_at_s=NOW_S + 60,
        )
        for giver, taker in pairwise(PEOPLE)
    ]
    proofs = {Cid.of_dag_cbor(link): link for link in links}
    invocation = seal_invocation(
        signer=PEOPLE[-1],
        subject=PEOPLE[0].did,
        audience=NODE.did,
        command="/nunet/job/status",
        args={"job": "a" * 32, "challenge": bytes(32)},
        nonce=bytes(12),
        expires_at_s=NOW_S + 60,
        proofs=list(proofs),
    )
    return invocation, proofs


STATEMENT: Final = _statement()
INVOCATION, PROOFS = _chain()
FRAME_DATA: Final = encode_record(
    Frame(id=1, body=Stated(statement_kind=BID, data=STATEMENT))
)


def _bare() -> Callable[[], object]:
    sign1 = read_sign1(STATEMENT, bytes_max=1 << 16)
    aad = b"nunet-node|1|nunet-main|bid"
    signed = sign1.signature + to_be_signed(sign1.protected, aad, sign1.payload)
    public = PEOPLE[0].public_bytes
    return lambda: nacl.bindings.crypto_sign_open(signed, public)


def _open() -> object:
    return open_statement(
        STATEMENT, kind=BID, payload_type=Bid, now_s=NOW_S, audience=NODE.did
    )


def _frame() -> object:
    return open_frame(
        1, FRAME_DATA, now_s=NOW_S, audiences={NODE.did}, own_did=NODE.did
    )


def _command() -> object:
    # The links are verified anew each time, as those of a stranger are.
    open_alone.cache_clear()
    return _known_command()


def _known_command() -> object:
    return open_invocation(INVOCATION, now_s=NOW_S, audience=NODE.did, proofs=PROOFS)


def _each(act: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        act()
    return (time.perf_counter() - began) / count


def _two(pool: ThreadPoolExecutor, act: Callable[[], object]) -> float:
    began = time.perf_counter()
    list(pool.map(lambda _: _each(act, COUNT), range(THREADS)))
    return (time.perf_counter() - began) / (THREADS * COUNT)


def main() -> None:
    """Measure, and print a table and the ratios."""
    figures, bare = Figures(), _bare()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(ROUNDS):
            figures.add(BARE, [_each(bare, COUNT)])
            figures.add(OPEN, [_each(_open, COUNT)])
            figures.add(FRAME, [_each(_frame, COUNT)])
            figures.add(CHAIN, [_each(_command, CHAINS)])
            figures.add(SEEN, [_each(_known_command, CHAINS)])
            figures.add(BARE_TWO, [_two(pool, bare)])
            figures.add(OPEN_TWO, [_two(pool, _open)])
    rows = [figures.row(name, (BARE,), _US) for name in figures.samples]
    head = ["what", "median µs", "least", "most", "of a bare verify"]
    said = [
        table(head, rows),
        "",
        f"rate of opening, of a bare verify: {_percent(figures, BARE, OPEN)}",
        f"two threads open, of one: {figures.ratio(OPEN, OPEN_TWO):.2f} times",
        f"two threads verify, of one: {figures.ratio(BARE, BARE_TWO):.2f} times",
    ]
    sys.stdout.write("\n".join(said) + "\n")


def _percent(figures: Figures, one: str, other: str) -> str:
    ratio = figures.ratio(one, other)
    return "-" if ratio is None else f"{ratio:.0%}"


if __name__ == "__main__":
    main()
