"""What a run of the comparison found, as a table on the terminal, in a page of the docs, and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rows import PROGRAMS, Row

_BEGIN: Final = "<!-- figures: written by benchmarks/compare.py --page -->"
_END: Final = "<!-- end of figures -->"


@dataclass(slots=True)
class Result:
    """All figures: row name -> side -> one per round, in the row's unit."""

    versions: dict[str, str]
    quick: bool
    limits: dict[str, float] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, row: Row, side: str, figure: float) -> None:
        self.figures.setdefault(row.name, {}).setdefault(side, []).append(figure)

    def median(self, row: Row, side: str) -> float | None:
        figures = self.figures.get(row.name, {}).get(side)
        return statistics.median(figures) if figures else None

    def ratios(self) -> list[float]:
        found = []
        for row in rows():
            ours, theirs = self.median(row, "manta"), self.median(row, "ray")
            if ours and theirs:
                found.append(row.ratio(ours, theirs))
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "versions": self.versions,
            "command": " ".join(["python", *sys.argv]),
            "quick": self.quick,
            "seconds": round(self.seconds),
            "limits": self.limits,
            "figures": self.figures,
        }


def rows() -> list[Row]:
    return [row for group in PROGRAMS.values() for row in group]


def machine() -> str:
    model = platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def cells(result: Result, row: Row) -> tuple[str, str, str, str, str]:
    """Manta, Ray, times better, target, what it stands beside."""
    ours, theirs = result.median(row, "manta"), result.median(row, "ray")
    ratio = f"{row.ratio(ours, theirs):.1f}" if ours and theirs else ""
    target = f"{shown(row.target)} {row.unit}" if row.target else ("85 % of the bare limit" if row.bound else "5 x Ray")
    bound = ""
    if row.bound and ours:
        bound = f"{ours / result.limits[row.bound]:.0%} of {row.bound}"
    return shown(ours), shown(theirs), ratio, target, bound


def shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def show(console: Console, result: Result) -> None:
    """Print the tables."""
    limits = Table(title="bare limits of this run")
    limits.add_column("limit")
    limits.add_column("figure", justify="right")
    for name, figure in result.limits.items():
        limits.add_row(name, shown(figure))
    table = Table(title=f"{machine()}: medians")
    for heading in ("row", "unit", "Manta", "Ray", "times better", "target", "of the limit"):
        table.add_column(heading, justify="left" if heading in ("row", "unit") else "right")
    for row in rows():
        if row.name in result.figures:
            table.add_row(row.name, row.unit, *cells(result, row))
    console.print(limits)
    console.print(table)
    ratios = result.ratios()
    if ratios:
        console.print(f"geometric mean: {statistics.geometric_mean(ratios):.1f} times, {result.seconds:.0f} s")


def page(text: str, result: Result) -> str:
    """`text` with the tables of this run between its two marks. raises: ValueError when it has no marks."""
    before, found, rest = text.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise ValueError(f"the page has no place for the figures: it needs the lines {_BEGIN!r} and {_END!r}")
    versions = ", ".join(f"{side} {number}" for side, number in result.versions.items())
    lines = [
        _BEGIN,
        "",
        f"Machine: {machine()}. Versions: {versions}. Command: `make bench`; {result.seconds:.0f} s"
        f"{', with --quick' if result.quick else ''}.",
        "",
        "| row | unit | Manta | Ray | times better | target | of the limit |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    seen = [row for row in rows() if row.name in result.figures]
    lines += [f"| {row.name} | {row.unit} | {' | '.join(cells(result, row))} |" for row in seen]
    ratios = result.ratios()
    if ratios:
        lines += ["", f"Geometric mean of the ratios: {statistics.geometric_mean(ratios):.1f}."]
    lines += ["", "| bare limit, same run | figure |", "|---|---:|"]
    lines += [f"| {name} | {shown(figure)} |" for name, figure in result.limits.items()]
    return before + "\n".join([*lines, "", _END]) + after
