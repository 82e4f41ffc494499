"""A holder's record of a copy changes by facts alone."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.protocol.facts import ReplicaDropped, ReplicaKept, ReplicaTaken
from nunet_node.protocol.replicas.record import apply_replica
from nunet_node.wire.cid import Cid

ABOUT = {"job": "j" * 32, "owner": "did:key:alice"}
TAKEN = ReplicaTaken(
    **ABOUT,
    attempt=1,
    root=Cid.of_raw(b"one"),
    size_bytes=3,
    until_s=100,
    at_s=1,
    receipt=b"receipt",
)
KEPT = ReplicaKept(**ABOUT)
DROPPED = ReplicaDropped(**ABOUT, reason="over", at_s=9)


def after(*facts):
    replica = None
    for fact in facts:
        replica = apply_replica(replica, fact)
    return replica


def test_a_copy_is_agreed_then_kept_then_dropped():
    assert not after(TAKEN).kept
    assert after(TAKEN, KEPT).kept
    assert after(TAKEN, KEPT, DROPPED) is None


def test_a_copy_is_found_by_owner_and_job_together():
    assert after(TAKEN).key == ("did:key:alice", "j" * 32)


def test_a_longer_time_keeps_what_is_here_and_another_root_does_not():
    longer = ReplicaTaken(**{**plain(TAKEN), "until_s": 200})
    other = ReplicaTaken(**{**plain(TAKEN), "root": Cid.of_raw(b"two")})

    assert (after(TAKEN, KEPT, longer).kept, after(TAKEN, longer).until_s) == (
        True,
        200,
    )
    assert not after(TAKEN, KEPT, other).kept


@pytest.mark.parametrize("fact", [KEPT, DROPPED])
def test_a_fact_about_a_copy_that_was_never_taken_is_our_own_mistake(fact):
    with pytest.raises(MisuseError):
        after(fact)


def plain(fact):
    return {name: getattr(fact, name) for name in fact.__struct_fields__}
