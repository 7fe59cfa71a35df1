"""Calls of synchronous and threaded actors."""

from __future__ import annotations

from typing import Any

from programs.timing import begin, rate

BATCH = 1000
SERVERS = 2
CLIENTS = 4


def main() -> list[float]:
    """1:1 sync, async, concurrent; 1:n; n:n; n:n with an argument: calls a second."""
    ray = begin(num_cpus=8)

    @ray.remote(num_cpus=0)
    class Server:
        def small(self) -> bytes:
            return b"ok"

        def small_with(self, value: object) -> bytes:
            return b"ok"

    @ray.remote(num_cpus=0)
    class Client:
        def __init__(self, servers: list[Any]) -> None:
            self.servers = servers

        def batch(self, count: int) -> None:
            refs = []
            for server in self.servers:
                refs.extend([server.small.remote() for _ in range(count)])
            ray.get(refs)

        def batch_with(self, count: int) -> None:
            value = ray.put(0)
            refs = []
            for server in self.servers:
                refs.extend([server.small_with.remote(value) for _ in range(count)])
            ray.get(refs)

    one = Server.remote()
    ray.get(one.small.remote())

    def one_by_one() -> None:
        for _ in range(500):
            ray.get(one.small.remote())

    def batch_of(actor: Any) -> None:
        ray.get([actor.small.remote() for _ in range(BATCH)])

    sync = rate(500, one_by_one)
    batched = rate(BATCH, lambda: batch_of(one), 5)
    threaded = Server.options(max_concurrency=16).remote()
    ray.get(threaded.small.remote())
    concurrent = rate(BATCH, lambda: batch_of(threaded), 5)
    servers = [Server.remote() for _ in range(SERVERS)]
    clients = [Client.remote(servers) for _ in range(CLIENTS)]
    ray.get([client.batch.remote(10) for client in clients])
    fan = rate(BATCH * SERVERS, lambda: ray.get(clients[0].batch.remote(BATCH)))
    every = BATCH * SERVERS * CLIENTS
    crossed = rate(every, lambda: ray.get([client.batch.remote(BATCH) for client in clients]))
    with_argument = rate(every, lambda: ray.get([client.batch_with.remote(BATCH) for client in clients]), 2)
    ray.shutdown()
    return [sync, batched, concurrent, fan, crossed, with_argument]
