"""What is taken back is known to those who ask a provider, and kept where they are."""

import time

from nunet_node.client.trust.delegating import Grant, delegate
from nunet_node.protocol.messages import READ
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.tokens import voids
from tests.unit.client.test_session import town

__all__ = ["town"]


async def test_another_home_hears_of_a_revocation_by_asking(town, tmp_path):
    owner, reader = open_home(tmp_path / "owner"), open_home(tmp_path / "reader")
    to = reader.new_identity("default").did
    key = owner.new_identity("default").key
    until_s = int(time.time()) + 600
    given, other = (
        delegate(owner, key, Grant(to=to, command=READ, expires_at_s=until_s))
        for _ in range(2)
    )
    async with town.client("reader") as client:
        before = await client.standing(given.chain)
        assert (len(before.answered), before.void, before.missed) == (1, {}, ())
    async with town.client("owner") as client:
        done = await client.revoke(given.chain)
        assert len(done.acknowledged) == 1
    async with town.client("reader") as client:
        found = await client.standing([*given.chain, *other.chain])
        assert list(found.void) == [given.leaf.cid]
    assert list(voids(reader)) == [given.leaf.cid]
