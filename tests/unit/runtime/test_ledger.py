"""Facts find their journal, and processes of one home see each other's."""

import contextlib

import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Engine, JobSpec
from nunet_node.jobs.statements import Notice
from nunet_node.protocol.facts import (
    CancelIntended,
    JobStaged,
    NoticeKept,
    OrderPlaced,
    ResultFetched,
)
from nunet_node.runtime import ledger as ledger_module
from nunet_node.runtime.home import open_home
from nunet_node.runtime.ledger import ROOM_BYTES_MIN, Ledger, is_newer, read_orders

OWNER = SigningKey(bytes(32)).did
SPEC = JobSpec(name="n", engine=Engine.WASM, command=("m.wasm",))


def placed(job):
    return OrderPlaced(job=job, owner=OWNER, spec=SPEC, salt=bytes(16), at_s=1)


def noticed(job, sequence, state=State.RUNNING, attempt=1):
    notice = Notice(
        job=job,
        owner=OWNER,
        attempt=attempt,
        sequence=sequence,
        previous=b"",
        state=state,
        at_s=sequence,
    )
    return NoticeKept(job=job, notice=notice, data=b"signed")


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def ledger(home):
    ledger = Ledger.open(home, provides=True)
    yield ledger
    ledger.close()


def test_facts_come_back_in_order_from_their_own_journals(home):
    ledger = Ledger.open(home, provides=True)
    ledger.append([JobStaged(job="j"), placed("a"), JobStaged(job="k")])
    ledger.append([placed("b"), CancelIntended(job="a", at_s=5)])
    ledger.close()
    again = Ledger.open(home, provides=True)
    assert [fact.job for fact in again.provider_facts()] == ["j", "k"]
    assert again.order_names() == ("a", "b")
    assert again.news_of("a") == (placed("a"), CancelIntended(job="a", at_s=5))
    again.close()


def test_a_command_has_no_providers_facts(home):
    ledger = Ledger.open(home, provides=False)
    assert tuple(ledger.provider_facts()) == ()
    with pytest.raises(MisuseError):
        ledger.append([JobStaged(job="j")])
    assert not home.ledger.exists()
    ledger.close()


def test_our_own_facts_are_no_news(ledger):
    ledger.append([placed("a")])
    assert ledger.news_of("a") == ()


def test_what_another_process_wrote_is_news_once(home, ledger):
    other = Ledger.open(home, provides=False)
    ledger.append([placed("a")])
    other.append([CancelIntended(job="a", at_s=5), placed("b")])
    ledger.append([ResultFetched(job="a", path="/r", at_s=6)])
    assert ledger.news_of("a") == (CancelIntended(job="a", at_s=5),)
    assert ledger.news_of("a") == ()
    assert [type(f).__name__ for f in other.news_of("a")] == [
        "OrderPlaced",
        "ResultFetched",
    ]
    other.close()


def test_only_what_another_process_adds_changes_the_number_of_others(home, ledger):
    before = ledger.others()
    ledger.append([placed("a")])
    assert ledger.others() == before
    with contextlib.closing(Ledger.open(home, provides=False)) as other:
        other.append([CancelIntended(job="a", at_s=5)])
        assert ledger.others() != before


def test_an_orders_number_grows_with_its_record(ledger):
    assert ledger.last_of("a") == 0
    ledger.append([placed("a")])
    before = ledger.last_of("a")
    ledger.append([placed("b")])
    assert ledger.last_of("a") == before
    ledger.append([CancelIntended(job="a", at_s=5)])
    assert ledger.last_of("a") > before


def test_every_order_of_a_home_can_be_read_without_a_peer(home, ledger):
    ledger.append([placed("a"), noticed("a", 1), placed("b")])
    orders = read_orders(home)
    assert orders["a"].state is State.RUNNING
    assert orders["b"].state is State.QUEUED


def test_a_home_without_orders_has_none(home):
    assert read_orders(home) == {}
    assert not home.orders.exists()


def test_a_notice_that_two_processes_heard_counts_once(home, ledger):
    ledger.append([placed("a"), noticed("a", 1), noticed("a", 2, State.STORING)])
    ledger.append([noticed("a", 1), noticed("a", 2, State.STORING)])
    order = read_orders(home)["a"]
    assert order.state is State.STORING
    assert [move.state for move in order.history] == [State.RUNNING, State.STORING]


def test_only_a_later_notice_is_newer(home, ledger):
    ledger.append([placed("a"), noticed("a", 3)])
    order = read_orders(home)["a"]
    assert is_newer(None, noticed("a", 1))
    assert not is_newer(order, noticed("a", 3))
    assert is_newer(order, noticed("a", 4))
    assert is_newer(order, noticed("a", 1, attempt=2))
    assert is_newer(order, CancelIntended(job="a", at_s=1))


def test_a_disk_with_room_is_writable_and_stays_clean(home, ledger):
    before = sorted(home.path.rglob("*"))
    assert ledger.is_writable()
    assert sorted(home.path.rglob("*")) == before


def test_a_home_that_is_gone_is_not_writable(home, ledger, tmp_path):
    home.path.rename(tmp_path / "moved")
    assert not ledger.is_writable()


def test_a_node_keeps_room_for_a_full_disk_and_takes_it_back(home):
    ledger = Ledger.open(home, provides=True)
    kept = home.path / "ballast"
    assert kept.stat().st_blocks > 0
    assert ledger.relieve()
    assert not kept.exists()
    assert not ledger.relieve()
    assert ledger.has_room()
    assert ledger.is_writable()
    assert kept.exists()
    ledger.close()


def test_a_disk_with_little_room_takes_no_new_work(home, monkeypatch):
    ledger = Ledger.open(home, provides=True)
    free = [ROOM_BYTES_MIN - 1, ROOM_BYTES_MIN, ROOM_BYTES_MIN, 2 * ROOM_BYTES_MIN]
    monkeypatch.setattr(ledger_module, "_free_bytes", lambda _path: free.pop(0))
    assert not ledger.has_room()
    assert ledger.has_room()
    assert not ledger.is_writable()
    assert ledger.is_writable()
    ledger.close()


def test_a_command_keeps_no_room(home):
    ledger = Ledger.open(home, provides=False)
    assert not ledger.relieve()
    assert not (home.path / "ballast").exists()
    ledger.close()
