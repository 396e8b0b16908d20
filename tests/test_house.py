"""The house: which part of lightjax may import which, as `docs/house.md` says in words, and how long a file may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "lightjax"
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 350
"""Largest number of lines of a file, docstrings included."""

GROUND = {"_activations", "_checks", "_files", "_structure", "labels", "pictures"}
NOUNS = {"networks", "objectives", "images", "transforms"}
RENDERING = {"contracts", "memory", "record", "optimize", "result", "recipe", "progress", "batching"}

ALLOWED: dict[str, set[str]] = {
    # The ground.
    "_activations": {"_structure"},
    "_checks": set(),
    "_files": set(),
    "_structure": set(),
    "labels": {"_checks"},
    "pictures": {"_checks", "_files"},
    # Operations with derivatives of their own.
    "ops": {"_checks"},
    # The four nouns never import each other, except for the backgrounds of pictures with opacity.
    "networks": GROUND | {"ops"},
    "objectives": GROUND,
    "images": GROUND | {"ops"},
    "transforms": GROUND | {"ops"},
    "transforms/pixels": GROUND | {"ops", "images"},
    # From a recipe to pictures.
    "contracts": GROUND | NOUNS | {"ops"},
    "memory": GROUND | NOUNS,
    "record": GROUND | NOUNS,
    "optimize": GROUND | NOUNS | {"ops"},
    "result": {"pictures"},
    "recipe": GROUND | NOUNS | {"contracts", "memory", "optimize", "record", "result"},
    "progress": {"_files", "optimize"},
    "batching": GROUND | NOUNS | {"optimize", "result", "recipe", "progress"},
    "render": GROUND | NOUNS | RENDERING,
    "notebook": {"_checks", "pictures", "result"},
    "dream": GROUND | NOUNS | RENDERING | {"render"},
    "accentuation": GROUND | NOUNS | RENDERING | {"render"},
    # What is built on them.
    "analysis": GROUND | NOUNS | RENDERING | {"ops", "render"},
    "gallery": GROUND | NOUNS | RENDERING | {"ops", "render", "analysis"},
    "cli": {"*"},
    "": {"*"},  # the package itself
}
LAZY = {"", "cli", "networks"}
"""Parts that may import parts of lightjax inside of functions, because importing them at once takes long."""


def name_of(path: Path) -> str:
    """The module of a file, relative to lightjax, with slashes: "images/base"; "images" for a package."""
    return path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("__init__").rstrip("/")


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules of lightjax that a file imports, each with whether that happens inside of a function."""
    tree = ast.parse(path.read_text())
    inside = {child for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for child in ast.walk(node)}
    types_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if node in types_only:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] != "lightjax":
                continue
            path_of = "/".join(parts[1:])
            while path_of not in MODULES:  # a name in a module
                path_of = path_of.rpartition("/")[0]
            found.append((path_of, node in inside))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_a_file_imports_only_what_its_part_may(name):
    part = name.partition("/")[0]
    allowed = ALLOWED.get(name, ALLOWED[part])
    for imported, inside in imports(MODULES[name]):
        target = imported.partition("/")[0]
        assert target == part or target in allowed or "*" in allowed, f"{name} imports {imported}"
        assert not inside or part in LAZY, f"{name} imports {imported} inside of a function"


def test_every_part_is_in_the_table_and_the_table_has_nothing_else():
    assert {name.partition("/")[0] for name in MODULES} == {name for name in ALLOWED if "/" not in name}


def test_no_file_imports_itself_by_way_of_others():
    graph = {name: {i for i, _ in imports(path) if i != name} for name, path in MODULES.items() if name not in LAZY}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name in done or name not in graph:
            return
        for imported in graph[name]:
            visit(imported, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())
    assert len(done) > 20


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_short_enough_to_be_read(name):
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST


def test_the_page_about_the_house_names_every_part():
    text = (ROOT.parent / "docs" / "house.md").read_text()
    assert [part for part in ALLOWED if part and f"`{part}" not in text] == []
