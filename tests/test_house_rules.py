"""The rules of docs/style.md that a machine can hold.

Each test names every offender at once, so that one run shows all that is to do.
"""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nunet_node"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
CORE = (
    "wire",
    "identity",
    "capability",
    "market",
    "jobs",
    "results",
    "protocol",
)

FUNCTION_LINES_MAX = 50
FUNCTION_LINES_MEDIAN_MAX = 10
MODULE_LINES_MAX = 400
ROOM_MODULES_MAX = 9
VAGUE = {"utils", "helpers", "common", "manager", "misc", "base", "types", "core"}
BINARY = {".png", ".gif", ".wasm", ".jpg", ".cbor", ".bin", ".zip", ".gz"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def _lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _tracked() -> list[Path]:
    """Every file of the tree that is, or is about to be, under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be told")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def _texts() -> Iterator[tuple[str, int, str]]:
    for path in _tracked():
        if path.suffix in BINARY or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            yield _name(path), number, line


def _matches(pattern: re.Pattern[str], *, skip: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, number, line in _texts()
        if not name.startswith(skip) and pattern.search(line)
    ]


def test_no_function_is_longer_than_a_screen():
    offenders = [
        f"{_name(path)}:{function.lineno} {function.name} {_lines(function)}"
        for path in MODULES
        for function in _functions(path)
        if _lines(function) > FUNCTION_LINES_MAX
    ]
    assert not offenders, "\n".join(offenders)


def test_most_functions_are_short():
    lengths = [_lines(function) for path in MODULES for function in _functions(path)]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN_MAX


def test_no_module_is_longer_than_four_hundred_lines():
    offenders = [
        f"{_name(path)} {len(path.read_text().splitlines())}"
        for path in MODULES
        if len(path.read_text().splitlines()) > MODULE_LINES_MAX
    ]
    assert not offenders, "\n".join(offenders)


def test_no_room_holds_more_than_nine_modules():
    counts = {
        _name(room): sum(path.stem != "__init__" for path in room.glob("*.py"))
        for room in ROOMS
    }
    assert {r: n for r, n in counts.items() if n > ROOM_MODULES_MAX} == {}


def test_every_module_says_what_it_is_for():
    offenders = [
        _name(path) for path in MODULES if not ast.get_docstring(_parsed(path))
    ]
    assert not offenders, "\n".join(offenders)


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_no_module_has_a_vague_name():
    assert [_name(path) for path in MODULES if path.stem in VAGUE] == []


def test_every_core_module_has_a_twin_test():
    core = [
        *(PACKAGE / f"{name}.py" for name in ("domains", "quantities", "errors")),
        *(path for room in CORE for path in sorted((PACKAGE / room).rglob("*.py"))),
    ]
    twins = [
        ROOT / "tests/unit" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        for path in core
        if path.stem != "__init__"
    ]
    missing = [_name(twin) for twin in twins if not twin.exists()]
    assert not missing, "\n".join(missing)


def test_every_limit_gives_its_reason():
    offenders = [
        f"{_name(path)}:{node.lineno} {name}"
        for path in MODULES
        for body in _bodies(path)
        for node, after in zip(body, [*body[1:], None], strict=True)
        for name in _limits(node)
        if not _explained(path, node, after)
    ]
    assert not offenders, "\n".join(offenders)


def _bodies(path: Path) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Module | ast.ClassDef):
            yield node.body


def _limits(node: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if name.isupper() and name.endswith("_MAX")]


def _explained(path: Path, node: ast.stmt, after: ast.stmt | None) -> bool:
    """Tell whether a docstring follows, or a comment stands above or beside."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        return isinstance(after.value.value, str)
    lines = path.read_text().splitlines()
    above = lines[node.lineno - 2].strip() if node.lineno > 1 else ""
    return above.startswith("#") or "  # " in lines[node.lineno - 1]


def test_nothing_names_the_machine_it_was_written_on():
    places = (
        "/work/" + "(?:main|shared|\\.)",
        r"(?<!\w)/root/",
        r"(?<!\w)/home/[a-z]",
        r"(?<!\w)/opt/(?!nunet-node/|my env/)[a-z]",
    )
    offenders = _matches(re.compile("|".join(places)))
    assert not offenders, "\n".join(offenders)


def test_nothing_names_a_package_registry_host():
    # In pieces, so that this file does not name them either.
    hosts = (
        ("py", "pi", "org"),
        ("python", "hosted", "org"),
        ("registry", "npm", "js"),
    )
    offenders = _matches(re.compile("|".join(r"\.?".join(each) for each in hosts)))
    assert not offenders, "\n".join(offenders)


def test_nothing_is_left_to_do_in_a_comment():
    pattern = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
    offenders = _matches(pattern, skip=("requirements", "LICENSE"))
    assert not offenders, "\n".join(offenders)


def test_every_decision_admits_its_negative_consequences():
    decisions = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    missing = [
        _name(path)
        for path in decisions
        if not re.search(
            r"^#+ Negative consequences\s*$", path.read_text(), re.MULTILINE
        )
    ]
    assert decisions
    assert not missing, "\n".join(missing)


def test_no_two_decisions_share_a_number():
    numbers = [p.name[:4] for p in (ROOT / "docs/decisions").glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers))


def test_a_decision_that_was_superseded_says_so():
    decisions = {p.name[:4]: p for p in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    status = re.compile(r"^Status: .*$", re.MULTILINE)
    said = {}
    for number, path in decisions.items():
        found = status.search(path.read_text())
        assert found, path.name
        said[number] = found[0]
    for number, words in said.items():
        for old in re.findall(r"supersedes (\d{4})", words):
            assert f"superseded by {number}" in said[old], old
        for new in re.findall(r"superseded by (\d{4})", words):
            assert f"supersedes {number}" in said[new], new
