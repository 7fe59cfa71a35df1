"""Arrays of 100 MiB."""

from __future__ import annotations

from programs.timing import begin, rate, seconds


def main() -> list[float]:
    """put in a row into a warm store, GB/s; get, us."""
    import numpy as np

    ray = begin(object_store_memory=2 << 30)
    array = np.ones(100 << 20, dtype=np.uint8)

    def put_ten() -> None:
        for _ in range(10):
            ray.put(array)

    put_ten()
    put = rate(10, put_ten) * array.nbytes / 1e9
    ref = ray.put(array)
    ray.get(ref)
    got = seconds(lambda: ray.get(ref), 50) * 1e6
    ray.shutdown()
    return [put, got]
