"""Tasks and objects with many refs."""

from __future__ import annotations

from programs.timing import begin, rate, seconds


def main() -> list[float]:
    """get of an object holding 10,000 refs, /s; wait on 1,000 refs, /s; 10,000 arguments, s; 3,000 returns, s."""
    ray = begin()

    @ray.remote
    def small() -> bytes:
        return b"ok"

    @ray.remote
    def holding(count: int) -> list[object]:
        return [ray.put(1) for _ in range(count)]

    @ray.remote
    def taking(*args: object) -> int:
        return len(args)

    @ray.remote(num_returns=3000)
    def returning() -> range:
        return range(3000)

    def wait_one_by_one() -> None:
        waiting = [small.remote() for _ in range(1000)]
        while waiting:
            _, waiting = ray.wait(waiting)

    ray.get([small.remote() for _ in range(500)])
    outer = holding.remote(10_000)
    got = rate(1, lambda: ray.get(outer))
    waited = rate(1, wait_one_by_one, 2)
    refs = [ray.put(number) for number in range(10_000)]
    taken = seconds(lambda: ray.get(taking.remote(*refs)), 2)
    returned = seconds(lambda: ray.get(returning.remote()))
    ray.shutdown()
    return [got, waited, taken, returned]
