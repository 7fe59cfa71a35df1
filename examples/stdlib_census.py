"""A census of the standard library, in parallel: what its modules define, and what they import together.

Every .py file of the running interpreter's library is parsed by tasks, and an actor adds up what they find. Further
tasks make vectors of what each file imports, and multiply them. Then the same work is done by one process, and the
results are compared: any difference ends the program with exit code 1.
"""

import ast
import sys
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

BATCHES = 48  # many times the number of CPUs, so that all of them are busy until the end
VOCABULARY = 500  # modules that get a place in the vectors
Imports = list[Counter[str]]  # of each file: module -> how often it is imported there
Pair = tuple[str, str]


@dataclass
class Census:
    """What was found in some files. Two add up to what was found in all of them."""

    files: int = 0
    unparsable: int = 0  # kept in the library to test tools with
    lines: int = 0
    functions: int = 0
    classes: int = 0
    longest: tuple[int, str] = (0, "")  # lines, and where
    imported: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Census") -> None:
        self.files += other.files
        self.unparsable += other.unparsable
        self.lines += other.lines
        self.functions += other.functions
        self.classes += other.classes
        self.longest = max(self.longest, other.longest)
        self.imported.update(other.imported)


# ---- the work: plain functions, which know nothing of tasks


def library_files() -> list[Path]:
    """The library's files without what was installed into it, the largest first."""
    root = Path(sysconfig.get_path("stdlib"))
    foreign = {"site-packages", "dist-packages"}
    files = [path for path in root.rglob("*.py") if not foreign.intersection(path.relative_to(root).parts)]
    return sorted(files, key=lambda path: (-path.stat().st_size, path))


def read(files: Sequence[Path]) -> tuple[Census, Imports]:
    """Parse files. returns: their census, and what each of them imports."""
    census = Census()
    imports: Imports = []
    for path in files:
        source = path.read_bytes()
        census.files += 1
        census.lines += source.count(b"\n")
        imports.append(Counter())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old escapes in old files
                tree = ast.parse(source)
        except (SyntaxError, ValueError):
            census.unparsable += 1
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                census.functions += 1
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                census.longest = max(census.longest, (length, f"{path.stem}.{node.name}"))
            elif isinstance(node, ast.ClassDef):
                census.classes += 1
            else:
                imports[-1].update(imported_by(node))
        census.imported.update(imports[-1].keys())
    return census, imports


def imported_by(node: ast.AST) -> Iterator[str]:
    """The top-level modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def vectors_of(imports: Imports, vocabulary: Sequence[str]) -> np.ndarray:
    """One row a file, one column a module of the vocabulary: 1 where the file imports the module."""
    return np.array([[name in counts for name in vocabulary] for counts in imports], dtype=np.float64)


def vocabulary_of(census: Census) -> list[str]:
    ranked = sorted(census.imported, key=lambda name: (-census.imported[name], name))
    return ranked[:VOCABULARY]


def most_together(together: np.ndarray, vocabulary: Sequence[str], count: int) -> list[tuple[int, Pair]]:
    """The pairs of modules that most files import both of."""
    pairs = combinations(range(len(vocabulary)), 2)
    ranked = sorted((-int(together[i, j]), (vocabulary[i], vocabulary[j])) for i, j in pairs)
    return [(-negative, pair) for negative, pair in ranked[:count]]


# ---- the same work as tasks and an actor

read_batch = ray.remote(num_returns=2)(read)
vectors_of_batch = ray.remote(vectors_of)


@ray.remote
def multiply(vectors: np.ndarray) -> np.ndarray:
    """How many files of the batch import both modules of each pair. The vectors are a view of shared memory."""
    return vectors.T @ vectors


@ray.remote
def add(*parts: np.ndarray) -> np.ndarray:
    return np.sum(parts, axis=0)


@ray.remote(num_cpus=0)  # it hardly computes: with a CPU of its own it would keep a task from one
class Tally:
    """Adds up the censuses of the batches."""

    def __init__(self) -> None:
        self.total = Census()

    def add(self, part: Census) -> int:
        self.total.add(part)
        return self.total.files

    def result(self) -> Census:
        return self.total


def in_parallel(files: Sequence[Path], progress: Progress) -> tuple[Census, np.ndarray]:
    batches = [files[start::BATCHES] for start in range(BATCHES)]  # a share of the large files for each
    tally = Tally.remote()
    censuses, imports = zip(*(read_batch.remote(batch) for batch in batches), strict=True)
    counted = [tally.add.remote(census) for census in censuses]  # called as soon as the census is there

    bar = progress.add_task("in parallel", total=len(files))
    waiting = counted
    while waiting:
        ready, waiting = ray.wait(waiting)
        progress.update(bar, completed=max(ray.get(ready[0]), progress.tasks[bar].completed))

    census = ray.get(tally.result.remote())
    vocabulary = ray.put(vocabulary_of(census))  # sent to each node once, not with every task
    vectors = [vectors_of_batch.remote(part, vocabulary) for part in imports]
    return census, ray.get(add.remote(*[multiply.remote(rows) for rows in vectors]))


def one_by_one(files: Sequence[Path], progress: Progress) -> tuple[Census, np.ndarray]:
    census = Census()
    imports: Imports = []
    for path in progress.track(files, description="one by one"):
        part, names = read([path])
        census.add(part)
        imports += names
    vectors = vectors_of(imports, vocabulary_of(census))
    return census, vectors.T @ vectors


# ---- what is shown


def report(census: Census, together: np.ndarray, parallel_s: float, serial_s: float) -> Table:
    table = Table(title=f"The standard library of Python {sys.version.split()[0]}", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    table.add_row("files", f"{census.files:,}", f"{census.unparsable} that no parser takes")
    table.add_row("lines", f"{census.lines:,}")
    table.add_row("functions", f"{census.functions:,}")
    table.add_row("classes", f"{census.classes:,}")
    table.add_row("longest function", f"{census.longest[0]:,}", f"lines: {census.longest[1]}")
    table.add_section()
    vocabulary = vocabulary_of(census)
    for name in vocabulary[:5]:
        table.add_row(f"import {name}", f"{census.imported[name]:,}", "files")
    table.add_section()
    for count, (one, other) in most_together(together, vocabulary, 3):
        table.add_row(f"{one} with {other}", f"{count:,}", "files")
    table.add_section()
    table.add_row("one by one", f"{serial_s:.2f} s")
    table.add_row("in parallel", f"{parallel_s:.2f} s", f"{serial_s / parallel_s:.2f} times as fast")
    return table


def main() -> int:
    console = Console()
    files = library_files()
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ray.init() as context, Progress(*columns, console=console) as progress:
        progress.console.print(f"Manta runs at {context.address_info['gcs_address']}")
        started = time.perf_counter()
        census, together = in_parallel(files, progress)
        parallel_s = time.perf_counter() - started

        started = time.perf_counter()
        expected, expected_together = one_by_one(files, progress)
        serial_s = time.perf_counter() - started

    console.print(report(census, together, parallel_s, serial_s))
    if census != expected or not np.array_equal(together, expected_together):
        console.print(f"[red]The results differ.[/red]\nin parallel: {census}\none by one: {expected}")
        return 1
    console.print("[green]Both ways give the same counts.[/green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
