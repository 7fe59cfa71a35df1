"""constraints.txt holds everything that the parts and the tools of development ask for, each with hashes."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("*/pyproject.toml")), *sorted(ROOT.glob("*/*/pyproject.toml"))]


def asked_for() -> Iterator[Requirement]:
    for path in PROJECTS:
        project = tomllib.loads(path.read_text())
        groups = project.get("dependency-groups", {}).values()
        for lines in (project.get("project", {}).get("dependencies", []), *groups):
            yield from map(Requirement, lines)


def pinned() -> dict[str, set[str]]:
    """Name -> versions; there are several where a marker chooses by the version of Python."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.M
    ):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def test_what_is_asked_for_is_pinned_within_its_bounds() -> None:
    versions = pinned()
    wrong = [
        str(requirement)
        for requirement in asked_for()
        if not requirement.name.startswith("manta-")
        and not any(
            requirement.specifier.contains(version) for version in versions.get(canonicalize_name(requirement.name), ())
        )
    ]
    assert wrong == [], "run make constraints"


def test_each_pin_has_hashes_and_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert text.count(" \\\n    --hash=sha256:") >= len(pinned())
    assert "://" not in text
