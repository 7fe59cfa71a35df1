"""Manta beside upstream Ray, in one run, alternating: `python benchmarks/compare.py [--quick] [--json FILE]`.

Every row runs in processes of its own, first on one side and then on the other, several times; the table gives the
median of each side and their ratio. `make bench` makes the two environments.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).parent
# Figures in seconds: less is better.
SECONDS: Final = {"import ray", "ray.init()", "first task", "ray.shutdown()"}
ROWS: Final = ("start", "tasks", "actors", "objects", "nodes")
# Upstream makes some four actors a second here.
ACTORS: Final = {"manta": "100", "ray": "12"}


def measure(python: str, side: str, row: str, timeout_s: float) -> dict[str, float]:
    """Run one row on one side. raises: RuntimeError with the end of its output when it fails."""
    command = [python, str(HERE / "workload.py"), row, *([ACTORS[side]] if row == "actors" else [])]
    environment = {**os.environ, "RAY_DEDUP_LOGS": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd="/", check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{row} on {side} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


@click.command()
@click.option("--ray-python", default=".bench-venv/bin/python", help="Interpreter that has upstream's wheel.")
@click.option("--rounds", default=3, help="How often each row runs on each side.")
@click.option("--quick", is_flag=True, help="One round.")
@click.option("--row", "rows", multiple=True, type=click.Choice(ROWS), help="Only these rows.")
@click.option("--json", "json_file", type=click.Path(), help="Write all figures here.")
def main(ray_python: str, rounds: int, quick: bool, rows: tuple[str, ...], json_file: str | None) -> None:
    """Compare Manta with upstream Ray on this machine."""
    sides = {"manta": sys.executable, "ray": ray_python}
    seen: dict[str, dict[str, list[float]]] = {}
    console = Console()
    for number in range(1 if quick else rounds):
        for row in rows or ROWS:
            for side, python in sides.items():
                console.log(f"round {number + 1}: {row} on {side}")
                for name, figure in measure(python, side, row, 300).items():
                    seen.setdefault(name, {}).setdefault(side, []).append(figure)
    table = Table(title=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, medians")
    for heading in ("row", "Manta", "Ray", "times better"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    ratios: list[float] = []
    for name, figures in seen.items():
        ours, theirs = statistics.median(figures["manta"]), statistics.median(figures["ray"])
        ratios.append(theirs / ours if name in SECONDS else ours / theirs)
        table.add_row(name, f"{ours:,.3g}", f"{theirs:,.3g}", f"{ratios[-1]:.1f}")
    console.print(table)
    console.print(f"geometric mean: {statistics.geometric_mean(ratios):.1f} times")
    if json_file:
        Path(json_file).write_text(json.dumps({"machine": platform.platform(), "figures": seen}, indent=1))


if __name__ == "__main__":
    main()
