"""The table of what is measured: a row's name, unit and target, and the program that yields its figure.

Names are those of `ray microbenchmark` where it has the row. Programs live in programs/, one function each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. unit "s", "us" and "MiB": less is better; others are rates. `target` is in that unit.

    bound: the bare limit of limits.py that the figure is to be seen beside, or "".
    """

    name: str
    unit: str
    target: float
    bound: str = ""

    @property
    def less_is_better(self) -> bool:
        return self.unit in ("s", "us", "MiB")

    def ratio(self, ours: float, theirs: float) -> float:
        """How many times better ours is."""
        return theirs / ours if self.less_is_better else ours / theirs


TWO_THREAD_COPY: Final = "warm copy, two threads (GB/s)"
BARE_FLIGHT: Final = "bare Flight get into a warm buffer (GiB/s)"

# Programs that take a second and yield one sample of each row: how often they run in a round.
REPEATED: Final = {"start": 3}

# Program -> its rows. A program is run as a process of its own, once a round and side.
PROGRAMS: Final[dict[str, tuple[Row, ...]]] = {
    "start": (
        Row("import ray", "s", 0.10),
        Row("import + ray.init()", "s", 0.7),
        Row("first task after init", "s", 0.02),
        Row("ray.shutdown()", "s", 0.3),
    ),
    "tasks": (
        Row("single client tasks sync", "/s", 10_000),
        Row("single client tasks async", "/s", 50_000),
        Row("multi client tasks async", "/s", 30_000),
        Row("queue and finish many tasks", "/s", 40_000),
    ),
    "task_shapes": (
        Row("single client get object containing 10k refs", "/s", 80),
        Row("single client wait 1k refs", "/s", 15),
        Row("one task with 10,000 ref arguments", "s", 0.15),
        Row("one task with 3,000 returns", "s", 0.03),
    ),
    "actor_calls": (
        Row("1:1 actor calls sync", "/s", 12_000),
        Row("1:1 actor calls async", "/s", 60_000),
        Row("1:1 actor calls concurrent", "/s", 30_000),
        Row("1:n actor calls async", "/s", 50_000),
        Row("n:n actor calls async", "/s", 50_000),
        Row("n:n actor calls with arg async", "/s", 25_000),
    ),
    "async_actor_calls": (
        Row("1:1 async-actor calls sync", "/s", 8_000),
        Row("1:1 async-actor calls async", "/s", 40_000),
        Row("1:1 async-actor calls with args async", "/s", 30_000),
    ),
    "generators": (
        Row("generator items", "/s", 40_000),
        Row("generator items, at most 10 ahead", "/s", 10_000),
        Row("generator items of 1 MiB", "/s", 0),
        Row("generators of one item", "/s", 3_000),
    ),
    "actor_creation": (
        Row("actors created and called", "/s", 200),
        Row("memory per idle actor worker (PSS)", "MiB", 6),
    ),
    "placement_groups": (Row("placement groups created and removed", "/s", 1_500),),
    "small_objects": (
        Row("single client put calls", "/s", 100_000),
        Row("single client get calls", "/s", 250_000),
        Row("put of a 1 MiB array", "/s", 0),
        Row("get of a 1 MiB array", "/s", 0),
    ),
    "large_objects": (
        Row("put of 100 MiB arrays in a row", "GB/s", 0, TWO_THREAD_COPY),
        Row("get of a 100 MiB array", "us", 15),
    ),
    "nodes": (
        Row("tasks sync on another node", "/s", 2_500),
        Row("tasks async on another node", "/s", 15_000),
        Row("256 MiB array to a task on another node", "GiB/s", 0, BARE_FLIGHT),
    ),
}
