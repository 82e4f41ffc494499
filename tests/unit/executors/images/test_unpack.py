"""A root file system is written below its directory, whatever its tar says."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from nunet_node.executors.images import unpack as unpacking
from nunet_node.executors.images.archive import ImageError
from nunet_node.executors.images.unpack import MOUNT_POINTS, RUN, unpack


def entry(name: str, data: bytes = b"", **more) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE):
    return entry(name, type=kind, linkname=to)


def layer(*entries) -> tarfile.TarFile:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as out:
        for info, data in entries:
            out.addfile(info, io.BytesIO(data))
    target.seek(0)
    return tarfile.open(fileobj=target)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_files_directories_and_links_come_out(root: Path):
    made = layer(
        entry("./usr/bin/tool", b"#!", mode=0o4755),
        entry("etc/conf", b"x", mode=0o600),
        link("bin", "usr/bin"),
        link("usr/bin/again", "usr/bin/tool", tarfile.LNKTYPE),
        link("etc/absolute", "/etc/conf"),
    )
    unpack([made], root)
    tool = root / "usr/bin/tool"
    assert tool.read_bytes() == b"#!"
    assert stat.S_IMODE(tool.stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "etc/conf").stat().st_mode) == 0o644
    assert (root / "bin").readlink() == Path("usr/bin")
    assert tool.stat().st_nlink == 2
    assert (root / "etc/absolute").is_symlink()


def test_what_the_box_mounts_over_is_there(root: Path):
    unpack([layer()], root)
    assert sorted((*MOUNT_POINTS, RUN)) == sorted(os.listdir(root))


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../outside", b"x")],
        [entry("a/../../outside", b"x")],
        [link("way", ".."), entry("way/outside", b"x")],
        [link("way", "/tmp"), entry("way/nunet-node-planted", b"x")],
        [link("stolen", "../secret", tarfile.LNKTYPE)],
        [link("stolen", "/etc/hostname-that-is-not-here", tarfile.LNKTYPE)],
        [link("way", ".."), link("stolen", "way/secret", tarfile.LNKTYPE)],
        [link("proc", "/proc")],
        [entry("tmp", b"a file where a directory must be")],
        [entry("/".join("d" * 100), b"too deep")],
    ],
    ids=range(10),
)
def test_a_path_that_leads_outside_is_refused(root: Path, entries):
    (root.parent / "secret").write_text("secret")
    with pytest.raises(ImageError):
        unpack([layer(*entries)], root)
    assert sorted(os.listdir(root.parent)) == ["root", "secret"]
    assert (root.parent / "secret").stat().st_nlink == 1
    assert not Path("/tmp/nunet-node-planted").exists()


def test_devices_and_pipes_are_left_out(root: Path):
    made = layer(
        entry("dev/sda", type=tarfile.BLKTYPE, devmajor=8),
        entry("dev/mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1),
        entry("pipe", type=tarfile.FIFOTYPE),
    )
    unpack([made], root)
    assert sorted(os.listdir(root)) == sorted((*MOUNT_POINTS, RUN))
    assert os.listdir(root / "dev") == []


def test_a_later_layer_replaces_and_removes(root: Path):
    below = layer(
        entry("a", b"old"),
        entry("b", b"old"),
        entry("folder/c", b"old"),
        entry("kept/d", b"old"),
        entry("tree/deep/e", b"old"),
    )
    above = layer(
        entry("a", b"new"),
        entry(".wh.b"),
        entry("folder/.wh..wh..opq"),
        entry("folder/f", b"new"),
        entry(".wh.tree"),
        link("kept/d", "/anywhere"),
    )
    unpack([below, above], root)
    assert (root / "a").read_bytes() == b"new"
    assert not (root / "b").exists()
    assert os.listdir(root / "folder") == ["f"]
    assert not (root / "tree").exists()
    assert (root / "kept/d").is_symlink()


def test_too_much_is_refused_before_it_is_written(root: Path, monkeypatch):
    monkeypatch.setattr(
        unpacking._Room.__init__,
        "__kwdefaults__",
        {
            "size_bytes": 10,
            "entries": 3,
        },
    )
    with pytest.raises(ImageError, match="unpacks to more"):
        unpack([layer(entry("big", b"x" * 11))], root)
    with pytest.raises(ImageError, match="unpacks to more"):
        unpack([layer(*(entry(f"f{n}") for n in range(4)))], root)
    assert not (root / "big").exists()
