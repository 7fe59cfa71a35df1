"""Many actors: how fast they come, and what each takes."""

from __future__ import annotations

import os

from programs.timing import QUICK, begin, rate

# Upstream makes some four a second here.
COUNTS = {"manta": 100, "ray": 8 if QUICK else 16}


def private_mib(pid: int) -> float:
    """Proportional set size of a process, MiB."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss line")


def main() -> list[float]:
    """Actors created and called, /s; PSS of one, MiB, the median."""
    ray = begin()
    count = COUNTS[os.environ["MANTA_BENCH_SIDE"]]

    @ray.remote(num_cpus=0)
    class Small:
        def pid(self) -> int:
            return os.getpid()

    ray.get(Small.remote().pid.remote())
    actors = []
    pids = []

    def create() -> None:
        actors.extend([Small.remote() for _ in range(count)])
        pids.extend(ray.get([actor.pid.remote() for actor in actors]))

    created = rate(count, create, 1)
    sizes = sorted(private_mib(pid) for pid in pids)
    ray.shutdown()
    return [created, sizes[len(sizes) // 2]]
