"""Small values, and arrays of 1 MiB."""

from __future__ import annotations

from programs.timing import begin, rate


def main() -> list[float]:
    """put, get of a small value; put, get of a 1 MiB array: operations a second."""
    import numpy as np

    ray = begin(object_store_memory=1 << 30)
    array = np.ones(1 << 20, dtype=np.uint8)

    def put(value: object, count: int) -> None:
        for _ in range(count):
            ray.put(value)

    refs = [ray.put(number) for number in range(1000)]
    small_put = rate(1000, lambda: put(0, 1000), 5)
    small_get = rate(1000, lambda: [ray.get(ref) for ref in refs], 5)
    put(array, 300)
    array_put = rate(300, lambda: put(array, 300))
    arrays = [ray.put(array) for _ in range(300)]
    array_get = rate(300, lambda: [ray.get(ref) for ref in arrays])
    ray.shutdown()
    return [small_put, small_get, array_put, array_get]
