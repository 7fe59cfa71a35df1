"""How the programs measure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

# A tenth of the long counts, for a first look.
QUICK: Final = os.environ.get("MANTA_BENCH_QUICK") == "1"


def rate(count: int, call: Callable[[], object], repeats: int = 3) -> float:
    """The best of some runs, in operations a second: noise of a shared machine only ever slows down."""
    return count / seconds(call, repeats)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of some runs."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def begin(**options: Any) -> Any:
    """import ray and start a local cluster of two CPUs."""
    import ray

    ray.init(**{"num_cpus": 2, "logging_level": "ERROR", "include_dashboard": False, **options})
    return ray
