"""Calls of an async actor."""

from __future__ import annotations

from programs.timing import begin, rate

BATCH = 1000


def main() -> list[float]:
    """sync; async; async with an argument: calls a second."""
    ray = begin()

    @ray.remote(num_cpus=0)
    class Server:
        async def small(self) -> bytes:
            return b"ok"

        async def small_with(self, value: object) -> bytes:
            return b"ok"

    one = Server.remote()
    ray.get([one.small.remote() for _ in range(100)])

    def one_by_one() -> None:
        for _ in range(300):
            ray.get(one.small.remote())

    sync = rate(300, one_by_one)
    batched = rate(BATCH, lambda: ray.get([one.small.remote() for _ in range(BATCH)]), 5)
    value = ray.put(0)
    with_argument = rate(BATCH, lambda: ray.get([one.small_with.remote(value) for _ in range(BATCH)]), 5)
    ray.shutdown()
    return [sync, batched, with_argument]
