"""What of a job is to be kept elsewhere: its result, else its logs, else nothing."""

import pytest

from nunet_node.protocol.replicas.charge import charge_of
from nunet_node.protocol.replicas.upkeep import LOGS_FIRST_S
from tests.unit.protocol.peer import log_root
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting
from tests.unit.protocol.world import OUTPUT, place


@pytest.fixture
def town():
    return Neighbourhood(holders=0)


def charge(town, job):
    return charge_of(town.provider.jobs[job])


def test_a_running_job_has_its_logs_kept_for_as_long_as_it_may_last(town):
    job = place(town.user, wanting())
    assert charge(town, job) is None
    town.world.run(for_s=LOGS_FIRST_S)
    town.provider.pack(1)

    logs, record = charge(town, job), town.provider.jobs[job]
    assert (logs.root, logs.logs, logs.copies) == (log_root(job, 1), True, 2)
    assert logs.until_s == record.lease_until_s + record.spec.retention_s


def test_a_result_comes_before_the_logs(town):
    job = place(town.user, wanting())
    town.world.run(for_s=LOGS_FIRST_S)
    town.provider.pack(1)
    town.provider.finish()
    town.provider.store()

    result, record = charge(town, job), town.provider.jobs[job]
    assert (result.root, result.logs) == (OUTPUT, False)
    assert (result.until_s, result.receipt) == (record.kept_until_s, record.receipt)


def test_nothing_is_kept_of_who_wants_no_copies_nor_beyond_the_time(town):
    alone = town.finished(wanting(replicas=0), salt=b"a" * 16)
    short = town.finished(wanting(retention_s=10), salt=b"b" * 16)
    assert charge(town, alone) is None
    assert charge(town, short)
    town.world.run(for_s=10)

    assert charge(town, short) is None
