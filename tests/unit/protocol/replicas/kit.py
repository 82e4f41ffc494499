"""A provider, a user and some nodes that keep copies, under virtual time."""

from nunet_node.jobs.specification import ResultKind
from tests.unit.protocol.world import World, place, spec

ROOM_BYTES = 1 << 20


def wanting(replicas=2, **more):
    return spec(replicas=replicas, results=ResultKind.PUBLIC, **more)


class Neighbourhood:
    """Peer 1 runs jobs, peer 2 wants them, peers 3 and up keep copies."""

    def __init__(self, holders=3, *, room_bytes=ROOM_BYTES):
        self.world = World()
        self.provider = self.world.peer(1, cpus=2)
        self.holders = [
            self.world.peer(3 + number, store_bytes=room_bytes)
            for number in range(holders)
        ]
        self.user = self.world.peer(2)
        self.world.run(for_s=1)

    def finished(self, wanted=None, **more):
        """Have a job run to its end, and return its id."""
        job = place(self.user, wanted or wanting(), **more)
        self.provider.finish()
        self.provider.store()
        self.provider.copies.add(self.provider.jobs[job].result)
        return job

    def keeping(self, job):
        """Return the holders that keep a copy, as the holders' own records say."""
        return [h for h in self.holders if any(r.job == job for r in self.kept(h))]

    @staticmethod
    def kept(holder):
        return [each for each in holder.node.replicas.values() if each.kept]

    def placed(self, job):
        return [each.holder for each in self.provider.jobs[job].replicas]
