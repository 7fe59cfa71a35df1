"""Seeded chaos: processes and nodes of a cluster are killed at random while its results are checked.

MANTA_CHAOS_SECONDS sets the length (default 180), MANTA_CHAOS_SEED repeats the kills of an earlier run, as far as
processes can be repeated; a failure prints its seed.
"""

import os
import random
import threading
import time
from collections import Counter

import pytest
import ray
from ray.cluster_utils import Cluster, ClusterNode

from tests.integration.conditions import wait_for
from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import NodeProcesses, arena_bytes, kill_and_wait
from tests.soak.workload import Outcome, one_round

SECONDS = float(os.environ.get("MANTA_CHAOS_SECONDS", "180"))
PAUSE_S = (0.2, 2.5)
NODES = 2
KINDS = {"worker": 10, "gcs": 3, "object-manager": 2, "zygote": 3, "node": 1}
LIMIT_S = SECONDS + 300

pytestmark = [pytest.mark.soak, pytest.mark.timeout(LIMIT_S)]


class Chaos(threading.Thread):
    """Kills until it is told to stop; nodes that it kills are added again."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        super().__init__(name="chaos")
        self._cluster = cluster
        self._rng = rng
        self._stop_asked = threading.Event()
        self.kills: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._rng.uniform(*PAUSE_S)):
                (kind,) = self._rng.choices(list(KINDS), list(KINDS.values()))
                self._kill(kind)
                self.kills[kind] += 1
        except BaseException as error:  # belongs to the test, which raises it
            self.error = error

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()
        if self.error is not None:
            raise self.error

    def _kill(self, kind: str) -> None:
        others = sorted(self._cluster.worker_nodes, key=lambda node: node.node_id)
        head = self._cluster.head_node
        assert head is not None
        if kind == "node":
            self._cluster.remove_node(self._rng.choice(others), allow_graceful=False)
            add_node(self._cluster)
        elif kind == "gcs":
            NodeProcesses.of(head).kill("gcs")
        elif kind == "worker":
            workers = NodeProcesses.of(self._rng.choice([head, *others])).workers()
            if workers:
                kill_and_wait(self._rng.choice(workers))
        else:
            NodeProcesses.of(self._rng.choice([head, *others])).kill(kind)


def add_node(cluster: Cluster) -> ClusterNode:
    return cluster.add_node(num_cpus=2)


def test_chaos(start_cluster: StartCluster) -> None:
    seed = int(os.environ.get("MANTA_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"MANTA_CHAOS_SEED={seed}")
    cluster = start_cluster({"num_cpus": 2}, tuple({"num_cpus": 2} for _ in range(NODES)))
    rng, outcome = random.Random(seed), Outcome()
    chaos = Chaos(cluster, random.Random(rng.random()))
    chaos.start()
    rounds = 0
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not outcome.wrong and chaos.is_alive():
            one_round(rng, outcome)
            rounds += 1
    finally:
        chaos.stop()
        print(f"{rounds} rounds, kills {dict(chaos.kills)}, {outcome.right} right, excused {outcome.excused}")
    assert not outcome.wrong
    assert outcome.right > rounds, "hardly anything came right"
    # In peace again everything works, and nothing is left behind.
    calm = Outcome()
    cluster.wait_for_nodes(timeout=60)
    one_round(rng, calm)
    assert not calm.wrong and not calm.excused
    wait_for(lambda: used(cluster) == 0, "all arenas are empty", 30)
    full = {"CPU": 2.0 * (NODES + 1)}
    wait_for(lambda: {"CPU": ray.available_resources().get("CPU")} == full, "all CPUs are free", 30)


def used(cluster: Cluster) -> float:
    return sum(arena_bytes(node) for node in cluster.list_all_nodes())
