"""Imports go one way between the parts, and the tree keeps its shape: the rules of the design, section 1."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "proto": ROOT / "proto/src/manta_proto",
    "common": ROOT / "libs/common/src/manta_common",
    "client": ROOT / "libs/client/src/ray",
    "gcs": ROOT / "services/gcs/src/manta_gcs",
    "raylet": ROOT / "services/raylet/src/manta_raylet",
    "object_manager": ROOT / "services/object-manager/src/manta_object_manager",
}
SIDES = ("gcs", "raylet", "object_manager", "client")
ALLOWED = {"proto": set(), "common": {"proto"}, **{side: {"proto", "common"} for side in SIDES}}

FILE_LINES = 600  # one noun a file; beyond it, it is two
LONG_FILES: dict[str, int] = {}  # what may be longer, and why


def modules(part: str) -> list[Path]:
    return [path for path in sorted(SOURCES[part].rglob("*.py")) if not path.name.endswith("_pb2.py")]


def generated_and_written(part: str) -> list[Path]:
    return sorted(SOURCES[part].rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """The part that a dotted name lies in; None for the standard library and third parties."""
    top = name.partition(".")[0]
    if top == "ray":
        return "client"
    part = top.removeprefix("manta_")
    return part if part in SOURCES and part != top else None


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    for path in generated_and_written(part):
        ours = {part_of(name) for name in imported_names(path)} - {None, part}
        assert ours <= ALLOWED[part], f"{path.relative_to(ROOT)} imports {ours - ALLOWED[part]}"


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_wheel_depends_on_the_parts_that_its_code_imports(part: str) -> None:
    folder = next(parent for parent in SOURCES[part].parents if (parent / "pyproject.toml").exists())
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    used = {part_of(name) for path in generated_and_written(part) for name in imported_names(path)} - {None, part}
    assert {f"manta-{name}" for name in used if name} == {name for name in declared if name.startswith("manta-")}


def test_no_module_imports_itself_through_others() -> None:
    """Circular imports, as seen by the statements at the top of modules."""
    names = {dotted(part, path): path for part in SOURCES for path in modules(part)}
    graph = {name: imported_at_the_top(name, path, names.keys()) for name, path in names.items()}
    state: dict[str, bool] = {}  # module -> whether it is finished

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if state.get(name):
            return
        assert name not in trail, f"circular import: {' -> '.join([*trail[trail.index(name) :], name])}"
        for other in sorted(graph[name]):
            visit(other, (*trail, name))
        state[name] = True

    for name in sorted(graph):
        visit(name, ())


def dotted(part: str, path: Path) -> str:
    base = "ray" if part == "client" else f"manta_{part}"
    inner = path.relative_to(SOURCES[part]).with_suffix("").parts
    return ".".join([base, *(inner[:-1] if inner[-1] == "__init__" else inner)])


def imported_at_the_top(name: str, path: Path, known: object) -> set[str]:
    """The known modules that importing this one imports; a package's own __init__ is not held against its modules."""
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            inner = [f"{module}.{alias.name}" for alias in node.names]
            candidates = [each if each in known else module for each in inner]  # type: ignore[operator]
        else:
            continue
        found |= {each for each in candidates if each in known}  # type: ignore[operator]
    return found - {name}


def test_no_part_is_imported_as_manta() -> None:
    """`manta` is a name that users give their own packages; see ADR 0024."""
    for part in SOURCES:
        for path in generated_and_written(part):
            taken = {name for name in imported_names(path) if name.partition(".")[0] == "manta"}
            assert not taken, f"{path.relative_to(ROOT)} imports {taken}"


@pytest.mark.parametrize("name", ["utils.py", "helpers.py", "util.py", "helper.py", "misc.py"])
def test_no_module_is_named_after_nothing(name: str) -> None:
    assert [path for part in SOURCES for path in modules(part) if path.name == name] == []


def test_files_are_short() -> None:
    lengths = {
        f"{part}/{path.relative_to(SOURCES[part])}": len(path.read_text().splitlines())
        for part in SOURCES
        for path in modules(part)
    }
    too_long = {name: count for name, count in lengths.items() if count > LONG_FILES.get(name, FILE_LINES)}
    assert too_long == {}, "cut them by noun, or say here why not"
    assert LONG_FILES.keys() <= lengths.keys(), "files that are gone need no exception"


def test_the_root_has_no_stray_files() -> None:
    known = {
        *(".ci", ".editorconfig", ".git", ".gitignore", ".pre-commit-config.yaml"),
        *("CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml"),
        *("benchmarks", "docs", "examples", "libs", "proto", "services", "tests", "tools"),
    }
    ignored = {line.strip().rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert {path.name for path in ROOT.iterdir()} - known - ignored == set()
