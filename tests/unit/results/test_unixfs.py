"""UnixFS roots are those that other implementations publish.

Known answers: the fixtures of ipfs/gateway-conformance (2026-04-30).
"""

import pytest

from nunet_node.results import unixfs
from nunet_node.results.errors import TreeTooLargeError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.results.unixfs import cid_text, of_tree
from nunet_node.wire.cid import Cid

HELLO = b"hello world\n"
ASCII = b"hello application/vnd.ipld.car\n"
MULTIBLOCK = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
]


def tree(files):
    return build(
        FileEntry(
            path=path,
            size_bytes=len(data),
            chunks=(Cid.of_raw(data),) if data else (),
        )
        for path, data in files.items()
    ).tree


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({}, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
        (
            {"subdir/hello.txt": HELLO, "subdir/ascii.txt": ASCII},
            "bafybeietjm63oynimmv5yyqay33nui4y4wx6u3peezwetxgiwvfmelutzu",
        ),
        (
            {
                "Portugal%2C+España=Peninsula Ibérica.txt": b"hello from a percent "
                b"encoded filename\n"
            },
            "bafybeig675grnxcmshiuzdaz2xalm6ef4thxxds6o6ypakpghm5kghpc34",
        ),
    ],
)
def test_a_tree_has_the_published_root(files, root):
    made = of_tree(tree(files))
    assert made.text == root
    assert cid_text(made.blocks[-1][0]) == root


def test_a_file_of_many_chunks_has_the_published_root():
    maker = unixfs._Maker()
    sizes = [256, 256, 256, 256, 2]
    leaves = list(zip(map(Cid.parse, MULTIBLOCK), sizes, strict=True))
    node = maker.file(leaves)
    assert (
        cid_text(node.cid)
        == "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa"
    )
    assert node.file_bytes == 1026


def test_an_empty_file_is_an_empty_raw_block():
    made = of_tree(tree({"empty": b""}))
    assert [str(leaf) for leaf in made.leaves] == [
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    ]


def test_a_long_file_has_levels_of_nodes():
    chunks = tuple(Cid.of_raw(bytes([n % 256])) for n in range(1025))
    file = FileEntry(path="a", size_bytes=1025 * CHUNK_BYTES, chunks=chunks)
    made = of_tree(build([file]).tree)
    # Two nodes of leaves, one above them, and the directory.
    assert len(made.blocks) == 4
    assert made.root.dag_bytes == 1025 * CHUNK_BYTES + sum(
        len(block) for _, block in made.blocks
    )
    assert len(made.leaves) == 256


def test_a_directory_that_fills_more_than_a_block_is_refused(monkeypatch):
    monkeypatch.setattr(unixfs, "BLOCK_DECODE_BYTES_MAX", 90)
    with pytest.raises(TreeTooLargeError):
        of_tree(tree({"a": HELLO, "b": ASCII}))
