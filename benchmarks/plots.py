"""Draw how costs grow with load, from the JSON that the measuring programs print, as SVG files for docs/figures.

python benchmarks/load.py > load.json; python -m tests.sim.measure --json > growth.json
.bench-venv/bin/python benchmarks/plots.py --load load.json --growth growth.json docs/figures
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import matplotlib
import matplotlib.pyplot as plt

matplotlib.use("svg")
# The same figures give the same file, byte for byte, and text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "manta", "svg.fonttype": "none", "figure.figsize": (6.4, 3.2)})


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _last_line(path: Path) -> Any:
    """raises: click.BadParameter for a file whose last line is not JSON."""
    try:
        return json.loads(path.read_text().strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise click.BadParameter(f"{path} does not end with a line of JSON: {error}") from error


@click.command(help=__doc__)
@click.option("--load", type=click.Path(exists=True, path_type=Path), help="What load.py printed.")
@click.option("--growth", type=click.Path(exists=True, path_type=Path), help="What tests.sim.measure --json printed.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(load: Path | None, growth: Path | None, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if load is not None:
        by_count = next(value for value in _last_line(load).values() if isinstance(value, dict))
        figure, axes = plt.subplots()
        axes.semilogx([int(count) for count in by_count], list(by_count.values()), "o-")
        axes.set(xlabel="tasks queued", ylabel="us of processor time a task", title="Cost of submitting a task")
        axes.set_ylim(bottom=0)
        _save(figure, folder / "submit-cost.svg")
    if growth is not None:
        rows = _last_line(growth)
        figure, axes = plt.subplots()
        axes.plot([row["nodes"] for row in rows], [row["us_per_task"] for row in rows], "o-", label="us a task")
        axes.set(xlabel="nodes of 64 CPUs", ylabel="us of processor time a task")
        axes.set(title="Scheduling: all cores together")
        axes.set_ylim(bottom=0)
        rate = axes.twinx()
        rate.plot([row["nodes"] for row in rows], [row["tasks_per_s"] for row in rows], "s--", color="tab:orange")
        rate.set(ylabel="tasks a second (dashed)")
        rate.set_ylim(bottom=0)
        _save(figure, folder / "scheduling-growth.svg")


if __name__ == "__main__":
    main()
