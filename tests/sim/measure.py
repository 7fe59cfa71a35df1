"""How the work of scheduling grows with the cluster: 50 tasks a node of 64 CPUs, from one driver, all cores real.

Each line is one simulated run until the last task is done: the CPU time that all cores of the cluster needed together,
by task, and how often tasks were sent on. With one driver one raylet takes every decision.

    python -m tests.sim.measure [--nodes 125,250,500,1000,2000] [--seed 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import time

from manta_common.resources import ResourceSet

from tests.sim.scheduling import Cluster, Shape

TASKS_A_NODE = 50
DURATION_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="125,250,500,1000,2000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with all figures in one line")
    arguments = parser.parse_args()
    print(f"{'nodes':>6} {'tasks':>8} {'CPU s':>8} {'us/task':>8} {'tasks/s':>8} {'hops/task':>10} {'virtual s':>10}")
    rows: list[dict[str, float]] = []
    for nodes in [int(text) for text in arguments.nodes.split(",")]:
        cluster = Cluster(Shape(nodes=nodes, cpus=64, everybody_hears=False), arguments.seed)
        owner = cluster.add_owner()
        tasks = nodes * TASKS_A_NODE
        started = time.process_time()
        owner.submit(owner.key(ResourceSet.from_floats({"CPU": 1})), tasks, DURATION_S)
        cluster.run(limit_s=600)
        seconds = time.process_time() - started
        hops = sum(count * times for count, times in cluster.hops.items()) / tasks
        print(
            f"{nodes:>6} {tasks:>8} {seconds:>8.1f} {1e6 * seconds / tasks:>8.0f} {tasks / seconds:>8.0f} "
            f"{hops:>10.2f} {cluster.clock.now:>10.2f}",
            flush=True,
        )
        rows.append({"nodes": nodes, "us_per_task": 1e6 * seconds / tasks, "tasks_per_s": tasks / seconds})
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
