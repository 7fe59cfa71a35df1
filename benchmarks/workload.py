"""The measured programs: they use the public API alone, so the same file runs on Manta and on upstream Ray.

Run as `python workload.py ROW...`; prints one JSON object, row -> figure. Each run is a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

ROWS: dict[str, Callable[[], dict[str, float]]] = {}


def row(function: Callable[[], dict[str, float]]) -> Callable[[], dict[str, float]]:
    ROWS[function.__name__] = function
    return function


def _rate(count: int, call: Callable[[], object], repeats: int = 3) -> float:
    """The best of some runs, in operations a second: noise of a shared machine only ever slows down."""
    best = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        best = max(best, count / (time.perf_counter() - started))
    return best


@row
def start() -> dict[str, float]:
    """import ray, ray.init(), the first task, ray.shutdown(); seconds."""
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
    t4 = time.perf_counter()
    return {"import ray": t1 - t0, "ray.init()": t2 - t1, "first task": t3 - t2, "ray.shutdown()": t4 - t3}


@row
def tasks() -> dict[str, float]:
    """Small tasks of one client, one by one and in batches of 1,000; per second."""
    import ray

    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False)

    @ray.remote
    def small() -> bytes:
        return b"ok"

    ray.get([small.remote() for _ in range(200)])

    def one_by_one() -> None:
        for _ in range(300):
            ray.get(small.remote())

    sync = _rate(300, one_by_one)
    batch = _rate(1000, lambda: ray.get([small.remote() for _ in range(1000)]))
    ray.shutdown()
    return {"single client tasks sync": sync, "single client tasks async": batch}


@row
def actors() -> dict[str, float]:
    """Actors created and called, and calls of one actor; per second."""
    import ray

    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False)

    @ray.remote(num_cpus=0)
    class Small:
        def ping(self) -> bytes:
            return b"ok"

    one = Small.remote()
    ray.get(one.ping.remote())

    def one_by_one() -> None:
        for _ in range(300):
            ray.get(one.ping.remote())

    sync = _rate(300, one_by_one)
    batch = _rate(1000, lambda: ray.get([one.ping.remote() for _ in range(1000)]))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    started = time.perf_counter()
    many = [Small.remote() for _ in range(count)]
    ray.get([actor.ping.remote() for actor in many])
    created = count / (time.perf_counter() - started)
    ray.shutdown()
    return {"1:1 actor calls sync": sync, "1:1 actor calls async": batch, "actors created and called": created}


@row
def objects() -> dict[str, float]:
    """100 MiB arrays put in a row into a warm store, GB/s; and small values, per second."""
    import numpy as np
    import ray

    ray.init(num_cpus=2, object_store_memory=2 << 30, logging_level="ERROR", include_dashboard=False)
    array = np.ones(100 << 20, dtype=np.uint8)

    def put_all(count: int) -> None:
        for _ in range(count):
            ray.put(array)

    put_all(10)
    large = _rate(10, lambda: put_all(10)) * array.nbytes / 1e9
    refs = [ray.put(number) for number in range(1000)]
    small_put = _rate(1000, lambda: [ray.put(0) for _ in range(1000)])
    small_get = _rate(1000, lambda: [ray.get(ref) for ref in refs])
    ray.shutdown()
    return {"put of 100 MiB (GB/s)": large, "single client put calls": small_put, "single client get calls": small_get}


@row
def nodes() -> dict[str, float]:
    """A 256 MiB array from one node to a task's caller on another node of this machine; GiB/s."""
    import numpy as np
    import ray
    from ray.cluster_utils import Cluster

    store = 2 << 30
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
    cluster.add_node(num_cpus=1, resources={"other": 1}, object_store_memory=store)
    ray.init(address=cluster.address, logging_level="ERROR")

    @ray.remote(resources={"other": 1})
    def make() -> object:
        return np.ones(256 << 20, dtype=np.uint8)

    best = 0.0
    for _ in range(5):
        ref = make.remote()
        ray.wait([ref], fetch_local=False)
        started = time.perf_counter()
        value = ray.get(ref)
        best = max(best, 0.25 / (time.perf_counter() - started))
        del value, ref
    ray.shutdown()
    cluster.shutdown()
    return {"256 MiB between nodes (GiB/s)": best}


if __name__ == "__main__":
    print(json.dumps(ROWS[sys.argv[1]]()))
