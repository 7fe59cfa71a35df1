"""Two nodes on one machine."""

from __future__ import annotations

import time

from programs.timing import rate


def main() -> list[float]:
    """tasks on the other node, one by one and in batches, /s; a 256 MiB array to a task there, GiB/s."""
    import numpy as np
    import ray
    from ray.cluster_utils import Cluster

    store = 2 << 30
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
    cluster.add_node(num_cpus=1, resources={"other": 100}, object_store_memory=store)
    ray.init(address=cluster.address, logging_level="ERROR")

    @ray.remote(resources={"other": 1})
    def small() -> bytes:
        return b"ok"

    @ray.remote(resources={"other": 1})
    def take(array: object) -> int:
        return len(array)  # type: ignore[arg-type]

    def one_by_one() -> None:
        for _ in range(200):
            ray.get(small.remote())

    ray.get([small.remote() for _ in range(100)])
    sync = rate(200, one_by_one)
    batched = rate(1000, lambda: ray.get([small.remote() for _ in range(1000)]), 5)
    array = np.ones(256 << 20, dtype=np.uint8)
    best = 0.0
    for _ in range(6):
        ref = ray.put(array)
        started = time.perf_counter()
        ray.get(take.remote(ref))
        best = max(best, 0.25 / (time.perf_counter() - started))
        del ref
    ray.shutdown()
    cluster.shutdown()
    return [sync, batched, best]
