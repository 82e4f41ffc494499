"""How a job's result is laid out as a tree.

Rule: a result holds ``outputs/…``, ``stdout``, ``stderr`` and ``exit_code``, the last
three always and nothing else ever, so that whoever fetches it knows what appears in
their directory. ``exit_code`` is a decimal number and a line end.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from nunet_node.results.errors import ManifestError
from nunet_node.results.manifest import FileEntry, Tree
from nunet_node.results.sealed_tree import SealedIndex

OUTPUTS: Final = "outputs"
"""Directory of the files that the job made."""

STDOUT: Final = "stdout"
STDERR: Final = "stderr"
EXIT_CODE: Final = "exit_code"

RECEIPT: Final = "receipt.cbor"
"""The provider's signed receipt, which a fetcher writes beside the tree; it names
the tree's id, so that it cannot be a part of it."""

EXIT_CODE_BYTES_MAX: Final = 16
"""A sign, ten digits and a line end, with room to spare."""

_ALWAYS: Final = frozenset({STDOUT, STDERR, EXIT_CODE})


def below(directory: str, files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Return files as they are called when their tree hangs below a directory."""
    return tuple(
        msgspec.structs.replace(file, path=f"{directory}/{file.path}") for file in files
    )


def exit_code_text(exit_code: int) -> bytes:
    """Return the contents of ``exit_code``."""
    return b"%d\n" % exit_code


def check_result(tree: Tree | SealedIndex) -> None:
    """Refuse a tree, or the index of a sealed one, that is not laid out as a result.

    Raises:
        ManifestError: a file is missing, or one is where none belongs.
    """
    paths = {file.path for file in tree.files}
    if not paths >= _ALWAYS:
        raise ManifestError(f"a result without {min(_ALWAYS - paths)}")
    for file in tree.files:
        if file.path not in _ALWAYS and not file.path.startswith(f"{OUTPUTS}/"):
            raise ManifestError(f"{file.path!a} has no place in a result")
        if file.path == EXIT_CODE and file.size_bytes > EXIT_CODE_BYTES_MAX:
            raise ManifestError(f"an exit code of {file.size_bytes} bytes")
