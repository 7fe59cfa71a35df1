"""From `import ray` to the end of `ray.shutdown()`."""

from __future__ import annotations

import time


def main() -> list[float]:
    """import; import and init; first task; shutdown: seconds."""
    t0 = time.perf_counter()
    import ray

    t1 = time.perf_counter()
    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False)
    t2 = time.perf_counter()

    @ray.remote
    def one() -> int:
        return 1

    ray.get(one.remote())
    t3 = time.perf_counter()
    ray.shutdown()
    return [t1 - t0, t2 - t0, t3 - t2, time.perf_counter() - t3]
