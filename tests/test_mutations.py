"""What `make mutants` edits is there to be edited: each old text stands exactly once."""

from pathlib import Path

import pytest

from tests.mutation import breaches, removals

TREE = Path(__file__).parents[1]
BREACHES = [
    (breaches.PROTOCOL, file, old)
    for breach in breaches.BREACHES
    for file, old, _ in ((breach.file, breach.old, breach.new), *breach.also)
]
REMOVALS = [
    (removals.ROOM, edit.file, edit.old)
    for removal in removals.REMOVALS
    for edit in removal.edits
]


@pytest.mark.parametrize(("room", "file", "old"), [*BREACHES, *REMOVALS])
def test_every_mutation_still_fits_its_file(room: str, file: str, old: str):
    assert (TREE / room / file).read_text().count(old) == 1
