"""Items of generators, read one by one."""

from __future__ import annotations

from collections.abc import Iterator

from programs.timing import QUICK, begin, rate

ITEMS = 500 if QUICK else 5000
LARGE = 20 if QUICK else 100


def main() -> list[float]:
    """small items; small items, at most ten ahead; 1 MiB items; generators of one item: each a second."""
    ray = begin()
    import numpy as np

    @ray.remote
    def count(number: int) -> Iterator[int]:
        for i in range(number):  # noqa: UP028 - upstream cannot take `yield from`
            yield i

    @ray.remote
    def arrays(number: int) -> Iterator[object]:
        for _ in range(number):
            yield np.zeros(1 << 20, dtype="uint8")

    def read(generator: Iterator[object]) -> None:
        for ref in generator:
            ray.get(ref)

    read(count.remote(100))
    limited = count.options(_generator_backpressure_num_objects=10)
    few = ITEMS // 5
    figures = [
        rate(ITEMS, lambda: read(count.remote(ITEMS))),
        rate(few, lambda: read(limited.remote(few))),
        rate(LARGE, lambda: read(arrays.remote(LARGE))),
        rate(few, lambda: [ray.get(next(generator)) for generator in [count.remote(1) for _ in range(few)]]),
    ]
    ray.shutdown()
    return figures
