"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _names() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_names())
def test_every_link_to_a_file_of_the_tree_leads_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    dead = [
        link
        for link in links
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert not dead, "\n".join(dead)


@pytest.mark.parametrize("document", DOCUMENTS, ids=_names())
def test_every_test_that_a_document_names_exists(document):
    named = re.findall(r"`(tests/[\w./-]+)`", document.read_text())
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing, "\n".join(missing)


def test_every_attack_of_the_threat_model_is_a_test():
    text = (ROOT / "docs/threat-model.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    known = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE
        )
    }
    assert named
    assert not named - known
