"""Three kinds of image file give the same layers."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from nunet_node.executors.images.archive import LAYERS_MAX, ImageError, layers


def tar(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as out:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def blob(files: dict[str, bytes], data: bytes) -> dict[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    files[f"blobs/sha256/{digest}"] = data
    return {"digest": f"sha256:{digest}"}


def oci(*contents: bytes, platforms: tuple[str, ...] = ("amd64",)) -> bytes:
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    found = [blob(files, content) for content in contents]
    manifest = blob(files, json.dumps({"layers": found}).encode())
    other = blob(files, json.dumps({"layers": []}).encode())
    entries = [
        {**(manifest if each == "amd64" else other), "platform": {"architecture": each}}
        for each in platforms
    ]
    files["index.json"] = json.dumps({"manifests": entries}).encode()
    return tar(files)


def names(image: bytes) -> list[list[str]]:
    with layers(io.BytesIO(image), "x86_64") as found:
        return [layer.getnames() for layer in found]


def test_a_tar_of_a_root_is_its_own_only_layer():
    assert names(tar({"bin/sh": b"", "etc/x": b""})) == [["bin/sh", "etc/x"]]
    assert names(gzip.compress(tar({"a": b""}))) == [["a"]]


def test_the_layers_of_an_oci_layout_come_in_their_order():
    image = oci(tar({"a": b""}), gzip.compress(tar({"b": b""})))
    assert names(image) == [["a"], ["b"]]


def test_an_index_is_searched_for_this_processor():
    image = oci(tar({"a": b""}), platforms=("arm64", "amd64"))
    assert names(image) == [["a"]]


def test_an_index_without_this_processor_is_refused():
    with pytest.raises(ImageError, match="no manifest for x86_64"):
        names(oci(tar({}), platforms=("arm64", "s390x")))


def test_what_docker_saves_is_read_too():
    manifest = json.dumps([{"Layers": ["one/layer.tar", "two/layer.tar"]}]).encode()
    image = tar(
        {
            "one/layer.tar": tar({"a": b""}),
            "two/layer.tar": tar({"b": b""}),
            "manifest.json": manifest,
        }
    )
    assert names(image) == [["a"], ["b"]]


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"no tar" * 200,
        tar({"oci-layout": b"{}", "index.json": b"not json"}),
        tar({"oci-layout": b"{}", "index.json": b"{}"}),
        tar({"oci-layout": b"{}", "index.json": b'{"layers": [{"digest": "x"}]}'}),
        tar({"oci-layout": b"{}", "index.json": b'{"layers": [{"digest": "a:b"}]}'}),
        tar({"oci-layout": b"{}", "index.json": b"[]"}),
        tar({"manifest.json": b"[]"}),
        tar({"manifest.json": b'[{"Layers": ["gone.tar"]}]'}),
        tar({"manifest.json": b"[3]"}),
    ],
    ids=range(10),
)
def test_what_is_no_image_is_refused_by_name(image: bytes):
    with pytest.raises(ImageError):
        names(image)


def test_too_many_layers_are_refused():
    layer = tar({})
    with pytest.raises(ImageError, match="layers"):
        names(oci(*[layer] * (LAYERS_MAX + 1)))
