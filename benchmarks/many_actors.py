"""A thousand actors on one machine: how fast they come, what they cost, how they answer: `many_actors.py [COUNT]`.

Each round has a cluster of its own. The first is to warm up: a virtual machine may have to get its memory, some 3.5 GB,
from its host first, and then pays up to 8 us for each page of 4 KiB. Prints one JSON object: medians of the others.

Memory is the proportional set size (PSS) of all worker processes, which shares what a fork left common among those that
use it. CPU is what all processes of the cluster, and this one, used in the phase.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

ROUNDS = 3
CALLS = 100_000
RESTARTS = 20


@ray.remote(num_cpus=0)
class Small:
    def ping(self) -> bytes:
        return b"ok"

    def pid(self) -> int:
        return os.getpid()


def family() -> dict[int, tuple[str, float]]:
    """This process and all below it: pid -> (what it is, seconds of CPU)."""
    found: dict[int, tuple[int, str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            # Ticks of 10 ms would show nothing of a worker; this leaves out only threads that have ended.
            seconds = sum(int((task / "schedstat").read_text().split()[0]) for task in (entry / "task").iterdir()) / 1e9
        except OSError:  # it ended meanwhile
            continue
        found[int(entry.name)] = (int(fields[1]), command, seconds)
    mine = {os.getpid()}
    while more := {pid for pid, (parent, _, _) in found.items() if parent in mine} - mine:
        mine |= more
    return {pid: (_kind(pid, found, mine), found[pid][2]) for pid in mine}


def _kind(pid: int, found: dict[int, tuple[int, str, float]], mine: set[int]) -> str:
    parent, command, _ = found[pid]
    if pid == os.getpid():
        return "driver"
    for part in ("gcs", "raylet", "object-manager"):
        if f"manta-{part}" in command:
            return part
    if "zygote" in command:
        return "zygote" if parent in mine and "manta-raylet" in found[parent][1] else "workers"
    return "supervisor"


def cpu(call: Callable[[], Any]) -> tuple[Any, float, dict[str, float]]:
    """The call's result, its duration and the CPU of each kind of process meanwhile; seconds."""
    before = {pid: used for pid, (_, used) in family().items()}
    started = time.perf_counter()
    result = call()
    took = time.perf_counter() - started
    used: dict[str, float] = {}
    for pid, (kind, seconds) in family().items():
        used[kind] = used.get(kind, 0.0) + seconds - before.get(pid, 0.0)
    return result, took, used


def worker_memory() -> float:
    """MiB for each worker process, on average."""
    sizes = []
    for pid, (kind, _) in family().items():
        if kind == "workers":
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes.append(next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")))
    return statistics.fmean(sizes) / 1024


def restart_times() -> list[float]:
    """Seconds from the SIGKILL of an actor's process to the answer of the next."""
    times = []
    actor = Small.options(max_restarts=-1, max_task_retries=-1).remote()  # type: ignore[attr-defined]
    for _ in range(RESTARTS):
        pid = ray.get(actor.pid.remote())
        started = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while ray.get(actor.pid.remote()) == pid:  # sent before the death was noticed, and answered
            continue
        times.append(time.perf_counter() - started)
    return times


def one_round(count: int) -> dict[str, Any]:
    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False)
    ray.get(Small.remote().ping.remote())  # type: ignore[attr-defined]

    def create() -> list[Any]:
        made = [Small.remote() for _ in range(count)]  # type: ignore[attr-defined]
        ray.get([actor.ping.remote() for actor in made])
        return made

    actors, took, used = cpu(create)
    memory = worker_memory()
    _, fanned, _ = cpu(lambda: ray.get([actors[number % count].ping.remote() for number in range(CALLS)]))
    restarts = restart_times()
    ray.shutdown()
    return {
        "created and called (per s)": count / took,
        "CPU for each (ms)": {kind: 1e3 * seconds / count for kind, seconds in sorted(used.items())},
        "memory for each, PSS (MiB)": memory,
        f"{CALLS} calls over all (per s)": CALLS / fanned,
        "restart after SIGKILL, median (s)": statistics.median(restarts),
        "restart after SIGKILL, worst (s)": max(restarts),
    }


def median(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {kind: median([value[kind] for value in values]) for kind in values[0]}
    return float(f"{statistics.median(values):.3g}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    rounds = [one_round(count) for _ in range(1 + ROUNDS)]
    rates = [round(found["created and called (per s)"], 1) for found in rounds]
    figures = {name: median([found[name] for found in rounds[1:]]) for name in rounds[0]}
    print(json.dumps({"actors": count, "created and called (per s), each round": rates, **figures}, indent=1))


if __name__ == "__main__":
    main()
