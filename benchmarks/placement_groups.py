"""Placement groups created and removed per second, by store: `python benchmarks/placement_groups.py [etcd://host:2379]`.

Each round makes COUNT groups at once, waits for all and removes them; the best of ROUNDS counts.
"""

from __future__ import annotations

import sys
import tempfile
import time

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group

COUNT = 400
ROUNDS = 5


def measure(store: str) -> float:
    """Groups a second on a head whose metadata is in `store`."""
    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 2, "store": store})
    best = 0.0
    try:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            groups = [placement_group([{"CPU": 0.001}]) for _ in range(COUNT)]
            if not all(group.wait(60) for group in groups):
                raise RuntimeError(f"a group was not created within 60 s on {store}")
            for group in groups:
                remove_placement_group(group)
            # Requests of one process are answered in order, so the removals are done when this group is there.
            last = placement_group([{"CPU": 0.001}])
            last.wait(60)
            best = max(best, COUNT / (time.perf_counter() - began))
            remove_placement_group(last)
    finally:
        cluster.shutdown()
    return best


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="manta-groups-") as folder:
        stores = [f"sqlite://{folder}/gcs.db", *sys.argv[1:]]
        for store in stores:
            print(f"{store.partition(':')[0]:<8} {measure(store):8.0f} groups/s created and removed")


if __name__ == "__main__":
    ray.shutdown()
    main()
