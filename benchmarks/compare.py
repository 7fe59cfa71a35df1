"""Manta beside upstream Ray, in one run, alternating: `python benchmarks/compare.py [--quick]`.

Every program runs in processes of its own, first on one side and then on the other, several times; the table gives the
median of each side, their ratio and the target. The bare limits of the machine are measured in the same run. `make
bench` makes the two environments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click
import leftovers
from report import Result, page, show
from rich.console import Console
from rows import PROGRAMS, REPEATED

HERE: Final = Path(__file__).parent
SIDES: Final = ("manta", "ray")
# Upstream takes a minute and a half for its slowest program.
_TIMEOUT_S: Final = 400.0


def run(python: str, script: str, *arguments: str, side: str = "", quick: bool = False) -> str:
    """The last line that a script prints. raises: RuntimeError with the end of its errors when it fails."""
    environment = {
        **os.environ,
        "MANTA_BENCH_SIDE": side,
        "MANTA_BENCH_QUICK": "1" if quick else "0",
        # Upstream would otherwise start its workers through uv when the suite itself was started by it.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    command = [python, str(HERE / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, cwd="/", check=False
    )
    leftovers.wait()
    if done.returncode != 0:
        who = f"{' '.join(command)} on {side or 'no runtime'}"
        raise RuntimeError(f"{who} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def version(python: str) -> str:
    code = "import ray; print(ray.__version__)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout.strip()


@click.command()
@click.option("--ray-python", default=".bench-venv/bin/python", help="Interpreter that has upstream's wheel.")
@click.option("--rounds", default=3, help="How often each program runs on each side.")
@click.option("--quick", is_flag=True, help="One round with shorter counts.")
@click.option("--only", multiple=True, type=click.Choice(sorted(PROGRAMS)), help="Only these programs.")
@click.option("--side", "sides", multiple=True, type=click.Choice(SIDES), help="Only this side.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here.")
@click.option("--page", "page_file", type=click.Path(path_type=Path), help="Put the tables into this page.")
def main(
    ray_python: str,
    rounds: int,
    quick: bool,
    only: tuple[str, ...],
    sides: tuple[str, ...],
    json_file: Path | None,
    page_file: Path | None,
) -> None:
    """Compare Manta with upstream Ray on this machine."""
    pythons = {"manta": sys.executable, "ray": str(Path(ray_python).absolute())}
    wanted = [side for side in SIDES if not sides or side in sides]
    console = Console(stderr=True)
    result = Result(versions={side: version(pythons[side]) for side in wanted}, quick=quick)
    started = time.monotonic()
    leftovers.adopt()
    console.log("the machine's bare limits")
    result.limits = json.loads(run(sys.executable, "limits.py"))
    for number in range(1 if quick else rounds):
        for program in only or PROGRAMS:
            for side in wanted * (1 if quick else REPEATED.get(program, 1)):
                console.log(f"round {number + 1}: {program} on {side}")
                figures = json.loads(run(pythons[side], "workload.py", program, side=side, quick=quick))
                for row, figure in zip(PROGRAMS[program], figures, strict=True):
                    result.add(row, side, figure)
    result.seconds = time.monotonic() - started
    show(Console(), result)
    if json_file:
        json_file.write_text(json.dumps(result.to_json(), indent=1) + "\n")
    if page_file:
        page_file.write_text(page(page_file.read_text(), result))


if __name__ == "__main__":
    main()
