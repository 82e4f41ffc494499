"""Every code that the program can name is documented, and no other."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/protocol/refusals.md"
ROW = re.compile(r"^\| `([a-z0-9*.-]+)` \| \S", re.MULTILINE)


def _codes_of(tree):
    """Yield the codes of error classes and of refusals that are made here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                yield from _assigned(line)
        elif isinstance(node, ast.Call):
            yield from (_text(k.value) for k in node.keywords if k.arg == "code")


def _assigned(line):
    if isinstance(line, ast.Assign):
        names, value = [t.id for t in line.targets if isinstance(t, ast.Name)], line
    elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
        names, value = [line.target.id], line
    else:
        return
    if names == ["code"] and value.value is not None:
        yield _text(value.value)


def _text(value):
    match value:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str() as start), *_]):
            return f"{start}*"
        case ast.Name(id=name):
            return NAMED.get(name)
        case _:
            return None


def _named(tree):
    """Yield the constants of a module that are text, by name."""
    for node in tree.body:
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=name), value=ast.Constant(value=str() as text)
            ):
                yield name, text


TREES = [ast.parse(p.read_text()) for p in (ROOT / "nunet_node").rglob("*.py")]
NAMED = {name: text for tree in TREES for name, text in _named(tree)}
"""A code that several modules say may stand under a name."""


def _in_the_code():
    return {code for tree in TREES for code in _codes_of(tree)} - {None}


def test_every_code_is_documented_and_every_documented_code_exists():
    documented = ROW.findall(PAGE.read_text())
    assert sorted(documented) == sorted(_in_the_code())


def test_codes_are_words_with_hyphens_and_one_dot():
    shape = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+|-\*)*)?")
    assert [code for code in _in_the_code() if not shape.fullmatch(code)] == []
