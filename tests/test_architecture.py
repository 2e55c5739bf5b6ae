"""The house holds: imports point one way, heavy libraries stay in their rooms, ARCHITECTURE.md shows the tree that is."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("curation", "training", "assets", "ui")
MAY_IMPORT = {
    "curation": {"curation"},
    "training": {"curation", "training"},
    "assets": {"curation", "training", "assets"},
    "ui": {"curation", "training", "ui"},
}
ROOM_OF = {
    "dagster": "assets",
    "streamlit": "ui",
    "torch": "training",
    "transformers": "training",
    "peft": "training",
    "accelerate": "training",
}
LIGHT = (
    "training.spec",
    "training.runs",
    "training.metrics",
    "curation.cohort",
    "curation.catalog",
    "assets.cli",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: import by full name"
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_no_layer_imports_upward(package: str) -> None:
    for path in modules(package):
        ours = {name.split(".")[0] for name in imported(path)} & set(PACKAGES)
        assert ours <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_each_framework_stays_in_its_room(package: str) -> None:
    for path in modules(package):
        for name in {name.split(".")[0] for name in imported(path)} & set(ROOM_OF):
            assert ROOM_OF[name] == package, f"{path.relative_to(ROOT)} imports {name}"


def test_there_is_no_circle_of_imports() -> None:
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for k in PACKAGES for p in modules(k)}
    at_load = {}
    for name, path in files.items():
        body = ast.parse(path.read_text(encoding="utf-8")).body
        found: set[str] = set()
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        at_load[name] = found & set(files) - {name}
    done: set[str] = set()
    while ready := {n for n in at_load if n not in done and at_load[n] <= done}:
        done |= ready
    assert done == set(at_load), f"in or behind a circle: {sorted(set(at_load) - done)}"


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_without_torch(module: str) -> None:
    code = (
        f"import sys, {module}; sys.exit(bool({{'torch', 'transformers', 'streamlit'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def entries(folder: Path) -> set[str]:
    """Modules and sub-folders of a room, as ARCHITECTURE.md names them."""
    return {
        p.name + ("/" if p.is_dir() else "")
        for p in folder.iterdir()
        if (p.is_dir() and any(f.is_file() and "__pycache__" not in f.parts for f in p.rglob("*")))
        or p.suffix in (".py", ".yaml")
        if p.name not in ("__init__.py", "__pycache__")
    }


def drawn() -> dict[str, set[str]]:
    """Package -> entries, from the tree in ARCHITECTURE.md: packages at the margin, their entries indented by two."""
    tree = re.search(r"```tree\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree, "ARCHITECTURE.md has no ```tree block"
    rooms: dict[str, set[str]] = {}
    room = ""
    for line in tree[1].splitlines():
        if match := re.match(r"(\w+)/", line):
            room = match[1]
            rooms[room] = set()
        elif match := re.match(r"  (?!--)(\S+)", line):
            rooms[room].add(match[1])
    return rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_in_architecture_is_the_tree(package: str) -> None:
    assert drawn()[package] == entries(ROOT / package)


def test_no_file_waits_empty() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    empty = [f for f in files if (ROOT / f).is_file() and not (ROOT / f).stat().st_size]
    assert empty == []


def test_no_machine_path_stands_in_a_tracked_file() -> None:
    pattern = r"(^|[^A-Za-z0-9_.~])/(work|root|tmp|home/[a-z]+)/[A-Za-z0-9_.]"
    found = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", ":!tests/test_architecture.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
