"""An image is unpacked once, and what cannot be unpacked leaves nothing."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from nunet_node.executors.images import cache as caching
from nunet_node.executors.images.archive import ImageError
from nunet_node.executors.images.cache import ImageCache


def image(at: Path, name: str, content: bytes) -> Path:
    with tarfile.open(at, "w") as out:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        out.addfile(entry, io.BytesIO(content))
    return at


def test_the_same_bytes_are_unpacked_once(tmp_path: Path):
    file = image(tmp_path / "a.tar", "hello", b"hi")
    images = ImageCache(tmp_path / "images")
    with file.open("rb") as source, images.root_of(source) as first:
        assert (first / "hello").read_bytes() == b"hi"
        made = (first / "hello").stat().st_ino
    with file.open("rb") as source, images.root_of(source) as again:
        assert again == first
        assert (again / "hello").stat().st_ino == made


def test_what_cannot_be_unpacked_leaves_nothing(tmp_path: Path):
    (tmp_path / "bad.tar").write_bytes(b"no image")
    images = ImageCache(tmp_path / "images")
    with (
        (tmp_path / "bad.tar").open("rb") as source,
        pytest.raises(ImageError),
        images.root_of(source),
    ):
        pass
    assert os.listdir(tmp_path / "images") == []


def test_the_longest_unused_goes_first_but_not_what_a_job_runs_on(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(caching, "KEPT_BYTES_MAX", 0)
    images = ImageCache(tmp_path / "images")
    one = image(tmp_path / "one.tar", "one", b"1" * 5000)
    two = image(tmp_path / "two.tar", "two", b"2" * 5000)
    with (
        one.open("rb") as source,
        images.root_of(source) as root_one,
        two.open("rb") as other,
        images.root_of(other) as root_two,
    ):
        assert (root_one / "one").exists()
        assert (root_two / "two").exists()
    three = image(tmp_path / "three.tar", "three", b"3")
    with three.open("rb") as source, images.root_of(source) as root_three:
        assert (root_three / "three").exists()
        assert not root_one.exists()
        assert not root_two.exists()


def test_a_header_that_asks_for_all_memory_is_survived(tmp_path: Path):
    """An extended header is read whole; its length is the tar's own word."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, (8 << 30) - 1
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as out:
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            out.write(bytes(1 << 20))
    images = ImageCache(tmp_path / "images")
    with (
        bomb.open("rb") as source,
        pytest.raises(ImageError),
        images.root_of(source),
    ):
        pass
