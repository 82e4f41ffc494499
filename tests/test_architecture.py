"""The walls between rooms: imports point down, and the core touches no world.

And the map of them, `ARCHITECTURE.md`, has every room and nothing that is not there.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nunet_node"
PYPROJECT = ROOT / "pyproject.toml"
MAP = ROOT / "ARCHITECTURE.md"


def _contracts() -> dict[str, dict]:
    settings = tomllib.loads(PYPROJECT.read_text())
    return {c["id"]: c for c in settings["tool"]["importlinter"]["contracts"]}


def test_every_import_contract_holds():
    # A process of its own: the linter sets up logging, and disables by that every
    # logger that is there, for all the tests that follow.
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_a_floor_in_the_layers():
    floors = " ".join(_contracts()["layers"]["layers"])
    named = set(floors.translate(str.maketrans("|:()", "    ")).split())
    rooms = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.is_dir() and (path / "__init__.py").exists())
        or (path.suffix == ".py" and path.stem != "__init__")
    }
    assert rooms - named == set(_contracts()["layers"].get("exhaustive_ignores", []))


def test_every_core_room_is_held_pure():
    pure = set(_contracts()["purity"]["source_modules"])
    floors = _contracts()["layers"]["layers"]
    core = floors[floors.index("protocol") :]
    rooms = " ".join(core).translate(str.maketrans("|:()", "    ")).split()
    assert pure == {f"nunet_node.{room}" for room in rooms}


def test_the_core_imports_no_forbidden_module_even_inside_a_function():
    forbidden = set(_contracts()["purity"]["forbidden_modules"])
    trespasses = [
        f"{path.relative_to(ROOT)}: {name}"
        for module in _contracts()["purity"]["source_modules"]
        for path in _sources(module)
        for name in _imported(path)
        if name in forbidden
    ]
    assert trespasses == []


def test_every_room_is_on_the_map():
    rooms = {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}
    named = {f"{room.relative_to(PACKAGE).as_posix()}/" for room in rooms}
    assert not named - _on_the_map()


def test_everything_on_the_map_is_there():
    missing = [
        name
        for name in _on_the_map()
        if not (PACKAGE / name).exists() and not (ROOT / name).exists()
    ]
    assert not missing


def _on_the_map() -> set[str]:
    names = re.findall(r"`([\w./]+(?:/|\.py|\.md|\.toml))`", MAP.read_text())
    return set(names)


def _sources(module: str) -> list[Path]:
    place = ROOT.joinpath(*module.split("."))
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
