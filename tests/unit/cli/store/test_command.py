"""The store's commands tell programs and people what is there."""

import json

import pytest

from nunet_node.cli.main import run as cli
from nunet_node.runtime.home import open_home
from nunet_node.runtime.store.archive import export_tree
from nunet_node.storage.blocks import BlockStore
from tests.runtime_kit import store_files


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def run(home, capsys):
    """Run a store command; return its exit code, and its documents or its text."""

    def call(*words, as_json=True):
        flags = ["--home", str(home.path), *(["--json"] if as_json else [])]
        code = cli([*flags, "store", *map(str, words)])
        out = capsys.readouterr().out
        return code, [json.loads(line) for line in out.splitlines()] if as_json else out

    return call


def test_stat_counts_both_stores(home, run):
    with BlockStore(home.blocks) as own, BlockStore(home.kept) as kept:
        own.put(b"mine")
        kept.put(b"theirs")
        kept.put(b"theirs too")
    assert run("stat")[1] == [
        {
            "own": {"blocks": 1, "size_bytes": 4},
            "kept": {"blocks": 2, "size_bytes": 16},
        }
    ]
    assert "kept" in run("stat", as_json=False)[1]


def test_verify_fails_when_a_block_is_damaged(home, run):
    with BlockStore(home.blocks) as own:
        cid = own.put(b"mine")
        (path,) = [p for p in home.blocks.rglob("*") if p.name == str(cid)]
    assert run("verify") == (0, [{"blocks": 1, "size_bytes": 4, "damaged": []}])
    path.write_bytes(b"????")
    damaged = [{"blocks": 0, "size_bytes": 0, "damaged": [str(cid)]}]
    assert run("verify") == (1, damaged)


def test_gc_and_list_of_an_empty_home(run):
    assert run("gc")[1] == [{"blocks": 0, "size_bytes": 0}]
    assert run("list")[1] == [[]]
    for word in ("gc", "list", "verify"):
        assert run(word, as_json=False)[1]


def test_an_archive_is_imported_once_and_for_all(home, run, tmp_path):
    with BlockStore(tmp_path / "elsewhere") as store:
        root = store_files(store, tmp_path / "files", {"a": b"data"}).root
        export_tree(store, root, tmp_path / "a.car")
    for _ in range(2):
        _, said = run("import", tmp_path / "a.car")
        assert said == [{"root": str(root), "blocks": 2}]
    with BlockStore(home.blocks) as own:
        assert own.has(root)


def test_only_a_known_job_is_exported(run, tmp_path):
    code, said = run("export", "nothing", tmp_path / "a.car")
    assert code == 3
    assert said[0]["error"]["code"] == "job.unknown"
    assert not (tmp_path / "a.car").exists()


def test_what_is_no_archive_is_named(run, tmp_path):
    (tmp_path / "a.car").write_bytes(b"none")
    code, said = run("import", tmp_path / "a.car")
    assert code == 1
    assert "a.car: the archive ends" in said[0]["error"]["message"]
