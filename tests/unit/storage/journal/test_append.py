"""The journal: what it keeps, what it refuses, and what it never loses."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from nunet_node.errors import MisuseError
from nunet_node.storage.errors import (
    LedgerConflictError,
    LedgerDamagedError,
    LedgerTooNewError,
    LedgerUnwritableError,
)
from nunet_node.storage.journal.append import (
    APPEND_ENTRIES_MAX,
    FACT_BYTES_MAX,
    READ_ROWS_MAX,
    Journal,
)
from nunet_node.storage.journal.schema import STEPS
from nunet_node.storage.journal.watermark import read_mark

WRITER = """
import os, sys
from pathlib import Path
from nunet_node.storage.journal.append import Journal
journal = Journal.open(Path(sys.argv[1]))
for number in range(10**6):
    journal.append([(sys.argv[2], b"%d" % number), (sys.argv[2], b"again")])
    os.write(1, b"%d\\n" % number)
"""


def facts(journal, stream=None):
    return [data for _, _, data in journal.read(stream)]


def files(directory):
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if not path.name.endswith("-shm") and path.stat().st_size
    }


def test_facts_are_read_back_in_order_after_a_restart(tmp_path):
    with Journal.open(tmp_path / "journal") as journal:
        assert journal.append([("node", b"one"), ("job-1", b"two")]) == 2
        assert journal.append([("node", b"three")]) == 3
    with Journal.open(tmp_path / "journal") as journal:
        assert list(journal.read()) == [
            (1, "node", b"one"),
            (2, "job-1", b"two"),
            (3, "node", b"three"),
        ]
        assert list(journal.read("node", after=1)) == [(3, "node", b"three")]
        assert journal.streams() == ("job-1", "node")
        assert (journal.last("node"), journal.last("job-2")) == (3, 0)


def test_reading_goes_past_one_page(tmp_path):
    count = READ_ROWS_MAX * 2 + 1
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("node", b"%d" % number) for number in range(count)])
        assert facts(journal) == [b"%d" % number for number in range(count)]


def test_a_fact_appended_while_reading_is_read_too(tmp_path):
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("node", b"one")])
        reader = journal.read()
        assert next(reader)[2] == b"one"
        journal.append([("node", b"two")])
        assert next(reader)[2] == b"two"


def test_an_append_at_an_unexpected_place_records_nothing(tmp_path):
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("job", b"one")], expected_last={"job": 0})
        journal.append([("node", b"two")])
        with pytest.raises(LedgerConflictError, match="ends at 1, not at 0"):
            journal.append([("job", b"three")], expected_last={"job": 0})
        assert journal.append([("job", b"four")], expected_last={"job": 1}) == 3
        assert facts(journal, "job") == [b"one", b"four"]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("", b"data")],
        [("node", bytes(FACT_BYTES_MAX + 1))],
        [("node", b"")] * (APPEND_ENTRIES_MAX + 1),
    ],
    ids=["none", "no-stream", "too-long", "too-many"],
)
def test_an_append_outside_the_limits_is_misuse(tmp_path, entries):
    with Journal.open(tmp_path / "journal") as journal:
        with pytest.raises(MisuseError):
            journal.append(entries)
        assert facts(journal) == []


def test_the_files_are_for_their_owner_alone(tmp_path):
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("node", b"one")])
        modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_two_open_journals_on_one_file_take_turns(tmp_path):
    each = 40

    def write(stream):
        with Journal.open(tmp_path / "journal") as journal:
            for number in range(each):
                journal.append([(stream, b"%d" % number)])

    writers = [threading.Thread(target=write, args=(f"job-{n}",)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with Journal.open(tmp_path / "journal") as journal:
        for number in range(3):
            assert facts(journal, f"job-{number}") == [b"%d" % n for n in range(each)]


def test_a_journal_of_a_newer_layout_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "journal"
    newer = (*STEPS, ("CREATE TABLE later (x INTEGER) STRICT",))
    with Journal.open(path, steps=newer) as journal:
        journal.append([("node", b"one")])
    before = files(tmp_path)
    with pytest.raises(LedgerTooNewError, match=r"layout 2.*up to 1.*newer nunet-node"):
        Journal.open(path)
    assert files(tmp_path) == before


def test_an_older_journal_is_migrated_with_its_facts(tmp_path):
    path = tmp_path / "journal"
    with Journal.open(path) as journal:
        journal.append([("node", b"one")])
    newer = (*STEPS, ("ALTER TABLE fact ADD COLUMN note TEXT",))
    with Journal.open(path, steps=newer) as journal:
        assert facts(journal) == [b"one"]
    with Journal.open(path, steps=newer) as journal:
        assert journal.append([("node", b"two")]) == 2


@pytest.mark.parametrize("layout", range(1, len(STEPS) + 1))
def test_a_journal_of_every_layout_so_far_is_opened_with_its_facts(tmp_path, layout):
    path = tmp_path / "journal"
    with Journal.open(path, steps=STEPS[:layout]) as journal:
        journal.append([("node", b"one")])
    with Journal.open(path) as journal:
        assert facts(journal) == [b"one"]
        assert journal.append([("node", b"two")]) == 2


def test_a_migration_that_fails_half_way_changes_nothing(tmp_path):
    path = tmp_path / "journal"
    with Journal.open(path) as journal:
        journal.append([("node", b"one")])
    broken = (*STEPS, ("CREATE TABLE half (x INTEGER) STRICT", "INSERT INTO nowhere"))
    with pytest.raises(LedgerUnwritableError):
        Journal.open(path, steps=broken)
    with Journal.open(path) as journal:
        assert facts(journal) == [b"one"]


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "journal"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE music (title TEXT)")
    other.close()
    before = files(tmp_path)
    with pytest.raises(LedgerDamagedError, match="not a journal"):
        Journal.open(path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE fact SET data = x'00' WHERE seq = 2",
        "UPDATE fact SET stream = 'job' WHERE seq = 2",
        "DELETE FROM fact WHERE seq = 2",
        "DELETE FROM fact WHERE seq = 3",
        "DELETE FROM stream",
        "UPDATE stream SET facts = 2",
        "DELETE FROM fact; DELETE FROM stream",
    ],
)
def test_facts_changed_behind_its_back_are_noticed(tmp_path, damage):
    path = tmp_path / "journal"
    with Journal.open(path) as journal:
        journal.append([("node", b"one"), ("node", b"two"), ("node", b"three")])
    meddler = sqlite3.connect(path)
    meddler.executescript(damage)
    meddler.close()
    before = files(tmp_path)
    with pytest.raises(LedgerDamagedError, match="is damaged"):
        Journal.open(path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("cut_bytes", [1, 64, 4096, None])
def test_a_log_cut_short_is_refused(tmp_path, cut_bytes):
    directory = snapshot_of_an_open_journal(tmp_path)
    cut_short(directory / "journal-wal", cut_bytes)
    with pytest.raises(LedgerDamagedError, match="was acknowledged"):
        Journal.open(directory / "journal")


@pytest.mark.parametrize("cut_bytes", [1, 64, 4096, None])
def test_a_file_cut_short_is_whole_from_its_log_or_refused(tmp_path, cut_bytes):
    directory = snapshot_of_an_open_journal(tmp_path)
    cut_short(directory / "journal", cut_bytes)
    assert_whole_or_refused(directory / "journal")


@pytest.mark.parametrize("file", ["journal", "journal-wal"])
def test_a_flipped_bit_is_noticed_or_harmless(tmp_path, file):
    directory = snapshot_of_an_open_journal(tmp_path)
    whole = (directory / file).read_bytes()
    chance = random.Random(7)
    noticed = 0
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        copy = shutil.copytree(directory, tmp_path / "copy")
        (copy / file).write_bytes(flipped)
        noticed += assert_whole_or_refused(copy / "journal")
        shutil.rmtree(copy)
    assert noticed


def test_a_missing_journal_with_a_mark_is_not_begun_anew(tmp_path):
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("node", b"one")])
    (tmp_path / "journal").unlink()
    with pytest.raises(LedgerDamagedError, match="fact 1 was acknowledged"):
        Journal.open(tmp_path / "journal")
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("mark", [b"", b"\xff" * 16, b"short", b"\0" * 16])
def test_a_damaged_mark_counts_as_none(tmp_path, mark):
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([("node", b"one")])
    (tmp_path / "journal-mark").write_bytes(mark)
    with Journal.open(tmp_path / "journal") as journal:
        assert facts(journal) == [b"one"]


@pytest.mark.parametrize("seed", range(4))
def test_no_acknowledged_append_is_lost_by_killing_the_writers(tmp_path, seed):
    chance = random.Random(seed)
    writers = {
        stream: subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "journal"), stream],
            stdout=subprocess.PIPE,
        )
        for stream in ("node", "job")
    }
    acknowledged = {
        stream: count_acknowledged_until_killed(writer, chance.randrange(1, 40))
        for stream, writer in writers.items()
    }
    with Journal.open(tmp_path / "journal") as journal:
        for stream, count in acknowledged.items():
            kept = facts(journal, stream)
            assert kept[::2] == [b"%d" % number for number in range(len(kept) // 2)]
            # One append more than was acknowledged may have become durable.
            assert count <= len(kept) // 2 <= count + 1


def test_a_full_disk_records_nothing_and_the_next_append_succeeds(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "journal")],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "SQLITE_" in child.stdout
    with Journal.open(tmp_path / "journal") as journal:
        assert facts(journal) == [b"before", b"after"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from nunet_node.storage.errors import LedgerUnwritableError
from nunet_node.storage.journal.append import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.open(Path(sys.argv[1]))
journal.append([("node", b"before")])
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
try:
    journal.append([("node", bytes(500000)), ("job", b"lost")])
except LedgerUnwritableError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
journal.append([("node", b"after")])
"""


def test_an_unwritable_place_is_refused_clearly(tmp_path):
    with pytest.raises(LedgerUnwritableError, match="cannot open"):
        Journal.open(tmp_path / "missing" / "journal")


def snapshot_of_an_open_journal(tmp_path):
    """Return a copy whose facts are partly in the file and partly in its log."""
    live = tmp_path / "live"
    live.mkdir()
    with Journal.open(live / "journal") as journal:
        for number in range(40):
            journal.append([("node", b"%d" % number * 50)])
    with Journal.open(live / "journal") as journal:
        for number in range(40, 60):
            journal.append([("node", b"%d" % number * 50)])
        return shutil.copytree(live, tmp_path / "crashed")


def cut_short(path, cut_bytes):
    os.truncate(path, 0 if cut_bytes is None else path.stat().st_size - cut_bytes)


def assert_whole_or_refused(path):
    """Return whether the journal was refused; fail if it opened with less."""
    try:
        with Journal.open(path) as journal:
            assert facts(journal) == [b"%d" % number * 50 for number in range(60)]
    except (LedgerDamagedError, LedgerTooNewError):
        return True
    return False


def count_acknowledged_until_killed(writer, patience):
    with writer:
        for _ in range(patience):
            assert writer.stdout.readline()
        writer.kill()
        return patience + writer.stdout.read().count(b"\n")


def test_facts_that_need_not_wait_for_the_disk_are_there_for_everybody(tmp_path):
    path = tmp_path / "journal"
    with Journal.open(path) as journal, Journal.open(path) as other:
        journal.append([("job", b"one")])
        assert journal.append([("job", b"two")], durable=False) == 2
        assert facts(other) == [b"one", b"two"]
        # Until they are on the disk, nothing says that they were acknowledged.
        assert read_mark(path.with_name("journal-mark")) == 1
        journal.append([("job", b"three")])
        assert read_mark(path.with_name("journal-mark")) == 3
    with Journal.open(path) as journal:
        assert facts(journal) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("durable", [True, False])
def test_an_append_waits_for_the_disk_if_it_is_to(tmp_path, durable):
    with Journal.open(tmp_path / "journal") as journal:
        for wanted in (not durable, durable):
            journal.append([("job", b"fact")], durable=wanted)
        (level,) = journal._connection.execute("PRAGMA synchronous").fetchone()
        assert level == (2 if durable else 1)


def test_a_damaged_journal_names_two_ways_out_and_the_second_works(tmp_path):
    path = tmp_path / "journal"
    with Journal.open(path) as journal:
        journal.append([("node", b"one")])
    path.write_bytes(b"x" * 4096)
    with pytest.raises(LedgerDamagedError) as refused:
        Journal.open(path)
    assert f"restore it from a copy, or move {path}* away" in str(refused.value)

    (tmp_path / "away").mkdir()
    for each in tmp_path.glob("journal*"):
        each.rename(tmp_path / "away" / each.name)
    with Journal.open(path) as journal:
        assert facts(journal) == []
