"""Inside each part imports point down only: every import counts, those for types and those inside functions too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = "(top)"  # modules beside the packages that join them, such as main.py


@dataclass(frozen=True)
class Part:
    """A package whose sub-packages are layers, the lowest first. low: modules beside them that lie below all."""

    folder: Path
    name: str
    layers: tuple[str, ...]
    low: frozenset[str] = frozenset()


def layers(names: str) -> tuple[str, ...]:
    return (*names.split(), TOP)


PARTS = {
    "gcs": Part(
        ROOT / "services/gcs/src/manta_gcs",
        "manta_gcs",
        layers("kernel store records jobs nodes tasks placement_groups actors fairness core requests server"),
    ),
    "raylet": Part(
        ROOT / "services/raylet/src/manta_raylet",
        "manta_raylet",
        layers("kernel resources workers leases actors core processes clients gcs server"),
    ),
    "client": Part(
        ROOT / "libs/client/src/ray/_runtime",
        "ray._runtime",
        layers("loop values arena transport references specs objects generators tasks actors execution process"),
        frozenset({"api", "current"}),
    ),
}

# Modules of the client that are handed the whole process, which lies above them. The list may only get shorter: each
# shall be given the parts that it needs.
HANDED_THE_WHOLE = (
    "actors.actor_calling",
    "actors.actor_creation",
    "actors.actors",
    "actors.durable_arguments",
    "arena.extent_expiry",
    "execution.actor_host",
    "execution.call_runner",
    "execution.execution",
    "execution.executor",
    "execution.generator_run",
    "execution.group_loop",
    "execution.item_sender",
    "execution.loop_lane",
    "execution.replies",
    "execution.return_values",
    "execution.serial_lane",
    "execution.threaded_lane",
    "generators.generators",
    "generators.object_ref_generator",
    "generators.read_ahead",
    "objects.dropped_refs",
    "objects.fetching",
    "objects.local_wait",
    "objects.object_frees",
    "objects.owner_queries",
    "objects.reads",
    "objects.reference_messages",
    "objects.stored_values",
    "objects.unread_errors",
    "objects.waking",
    "specs.task_kind",
    "tasks.arguments",
    "tasks.cancelling",
    "tasks.lease_client",
    "tasks.recovery",
    "tasks.retry_notices",
    "tasks.retrying",
    "tasks.task_events",
    "tasks.task_submitter",
    "transport.peers",
    "transport.raylets",
    "transport.remote",
    "values.object_ref",
)
# Imports that still point up: (module that imports, what it imports). A pair that is gone must go from here too.
STILL_UP: dict[str, set[tuple[str, str]]] = {
    "gcs": set(),
    "raylet": set(),
    "client": {
        *((module, "process.process") for module in HANDED_THE_WHOLE),
        ("actors.actors", "execution.actor_host"),
        ("api", "process.placement_groups"),
        ("api", "tasks.prepared_calls"),
        ("api", "values.object_ref"),
        ("execution.executor", "process.retirement"),
        ("objects.reference_messages", "actors.actor_record"),
        ("specs.task_kind", "actors.actor_record"),
        ("specs.task_record", "generators.generator_replay"),
        ("specs.task_record", "generators.generator_stream"),
        ("specs.task_record", "generators.generators"),
        ("specs.task_record", "tasks.lease_manager"),
        ("tasks.call_sites", "execution.execution"),
        ("tasks.recovery", "actors.actor_record"),
        ("tasks.task_events", "execution.execution"),
        ("transport.raylets", "process.reference_report"),
    },
}


MOST = {"store": 28}  # four drivers behind one interface


def upward(part: Part) -> Iterator[tuple[str, str]]:
    """(importing module, imported module) for each import of a higher layer; names are relative to the part."""
    for path in sorted(part.folder.rglob("*.py")):
        inner = path.relative_to(part.folder).with_suffix("").parts
        mine = rank(part, inner)
        for name in imported(path, part.name):
            theirs = name.removeprefix(f"{part.name}.").split(".")
            if rank(part, theirs) > mine:
                yield ".".join(inner), ".".join(theirs)


def rank(part: Part, inner: tuple[str, ...] | list[str]) -> int:
    if (part.folder / inner[0]).is_dir():
        return part.layers.index(inner[0])
    return -1 if inner[0] in part.low else part.layers.index(TOP)


def imported(path: Path, package: str) -> Iterator[str]:
    """The modules of the package that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{package}."))
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (f"{package}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}."):
            yield node.module


@pytest.mark.parametrize("name", PARTS)
def test_imports_point_down(name: str) -> None:
    assert set(upward(PARTS[name])) == STILL_UP[name]


@pytest.mark.parametrize("name", PARTS)
def test_each_package_says_what_lives_there(name: str) -> None:
    part = PARTS[name]
    packages = {path.parent.name: path for path in part.folder.glob("*/__init__.py")}
    assert packages.keys() == set(part.layers) - {TOP}
    for package, path in packages.items():
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        assert "Imports:" in text or package == "store", f"{path} does not say what it may import"


@pytest.mark.parametrize("name", PARTS)
def test_a_room_is_not_a_hall(name: str) -> None:
    part = PARTS[name]
    crowded = {
        layer: len(found)
        for layer in part.layers
        if layer != TOP and len(found := list((part.folder / layer).glob("*.py"))) > MOST.get(layer, 22)
    }
    assert crowded == {}


def test_what_is_ours_is_said_once() -> None:
    """A module that derives a folder from its own place means another one after a move; see ray._own_code."""
    runtime = PARTS["client"].folder
    assert [str(path) for path in runtime.rglob("*.py") if "__file__" in path.read_text()] == []
