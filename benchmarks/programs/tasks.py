"""Small tasks: one client, several clients, a long queue."""

from __future__ import annotations

from programs.timing import QUICK, begin, rate

CLIENTS = 4
BATCH = 1000


def main() -> list[float]:
    """sync; async; multi client; a long queue: tasks a second."""
    ray = begin()

    @ray.remote
    def small() -> bytes:
        return b"ok"

    @ray.remote
    class Client:
        def batch(self, count: int) -> None:
            ray.get([small.remote() for _ in range(count)])

    def one_by_one() -> None:
        for _ in range(500):
            ray.get(small.remote())

    ray.get([small.remote() for _ in range(500)])
    sync = rate(500, one_by_one)
    batched = rate(BATCH, lambda: ray.get([small.remote() for _ in range(BATCH)]), 5)
    clients = [Client.remote() for _ in range(CLIENTS)]
    ray.get([client.batch.remote(10) for client in clients])
    multi = rate(CLIENTS * BATCH, lambda: ray.get([client.batch.remote(BATCH) for client in clients]))
    many = 10_000 if QUICK else 100_000
    queued = rate(many, lambda: ray.get([small.remote() for _ in range(many)]), 1)
    ray.shutdown()
    return [sync, batched, multi, queued]
