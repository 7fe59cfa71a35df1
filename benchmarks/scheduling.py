"""How long one decision of the scheduler takes, and how that grows with the cluster.

Each line is a cluster of nodes with 64 CPUs in which decision after decision is taken and its outcome put into the
view, as a raylet does with what it sends on; then the same for placement groups, as the GCS does. The column "news"
has as many other nodes change between two decisions as news arrive in 1 ms when every node tells its free resources
ten times a second.

    python benchmarks/scheduling.py [--nodes 100,500,2000,5000] [--decisions 20000]
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import (
    ClusterIndex,
    LabelConstraint,
    LabelOperator,
    NodeLabels,
    NodeView,
    Request,
    Spread,
    choose,
)
from manta_common.scheduling.bundles import BundleRequest, BundleStrategy, GroupRequest, place_bundles

ONE = ResourceSet.from_floats({"CPU": 1})
ZONE = LabelConstraint("zone", LabelOperator.IN, ("a", "b"))
REQUESTS = {
    "DEFAULT": Request(resources=ONE),
    "SPREAD": Request(resources=ONE, strategy=Spread()),
    "labels": Request(resources=ONE, strategy=NodeLabels(hard=(ZONE,))),
}


def cluster(nodes: int) -> ClusterIndex:
    total = ResourceSet.from_floats({"CPU": 64, "memory": 2.0**38, "object_store_memory": 2.0**36})
    ids = [NodeId(number.to_bytes(28, "big")) for number in range(nodes)]
    return ClusterIndex(
        NodeView(node_id=node_id, total=total, available=total, labels={"zone": "abc"[number % 3]})
        for number, node_id in enumerate(ids)
    )


def decide(index: ClusterIndex, request: Request, rng: Random) -> None:
    chosen = choose(request, index, rng)
    if not isinstance(chosen, bytes):
        raise SystemExit(f"no room any more: {chosen}; give fewer --decisions or more --nodes")
    node = index[chosen]
    index.put(replace(node, available=node.available - ONE, spread=node.spread + 1))


def decide_group(index: ClusterIndex, request: GroupRequest) -> None:
    plan = place_bundles(request, index)
    if not isinstance(plan, tuple):
        raise SystemExit(f"no room any more: {plan}; give fewer --decisions or more --nodes")
    for node_id, bundle in zip(plan, request.bundles, strict=True):
        node = index[node_id]
        index.put(replace(node, available=node.available - bundle.resources))


def median_us(step: Callable[[], None], before: Callable[[], None], count: int) -> float:
    times = []
    for _ in range(count):
        before()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def news(index: ClusterIndex, rng: Random) -> Callable[[], None]:
    """Nodes that change on their own, at 10 news a second each, in 1 ms."""
    ids = list(index)

    def change() -> None:
        for node_id in rng.sample(ids, max(1, len(ids) // 100)):
            node = index[node_id]
            index.put(replace(node, available=node.total - ResourceSet({"CPU": rng.randrange(32) * 10_000})))

    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="100,500,1000,2000,5000")
    parser.add_argument("--decisions", type=int, default=5_000)
    arguments = parser.parse_args()
    print(f"{'nodes':>6}  " + "".join(f"{name:>10}" for name in REQUESTS) + f"{'news':>10}   (us, median)")
    for nodes in [int(text) for text in arguments.nodes.split(",")]:
        rng = Random(nodes)
        count = min(
            arguments.decisions, nodes * 32
        )  # a third of the CPUs of the nodes that the labels leave stays free
        columns = []
        for request in REQUESTS.values():
            step = functools.partial(decide, cluster(nodes), request, rng)
            columns.append(median_us(step, lambda: None, count))
        index = cluster(nodes)
        columns.append(
            median_us(functools.partial(decide, index, REQUESTS["DEFAULT"], rng), news(index, rng), count // 10)
        )
        print(f"{nodes:>6}  " + "".join(f"{column:>10.1f}" for column in columns), flush=True)
    print(
        f"\n{'nodes':>6}  " + "".join(f"{s.name:>14}" for s in BundleStrategy) + "   groups of 4 bundles (us, median)"
    )
    for nodes in [int(text) for text in arguments.nodes.split(",")]:
        columns = []
        for strategy in BundleStrategy:
            group = GroupRequest(bundles=(BundleRequest(ONE),) * 4, strategy=strategy)
            step = functools.partial(decide_group, cluster(nodes), group)
            columns.append(median_us(step, lambda: None, min(arguments.decisions // 4, nodes * 8)))
        print(f"{nodes:>6}  " + "".join(f"{column:>14.1f}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
