"""Steady mixed work for half an hour: every process of the cluster stays as large as it was once warm.

MANTA_SOAK_SECONDS sets the length (default 1800); what is measured is its second half. It takes 10,000 dead actors
until the tables of what is over are full, some twelve minutes; a shorter run shows leaks all the same, if coarser.
"""

import os
import time
from collections.abc import Iterator

import pytest
import ray

from tests.integration.faults.conftest import StartCluster
from tests.integration.faults.node_processes import NodeProcesses
from tests.soak.footprint import MIB, Series, sample
from tests.soak.steady_work import SteadyWork

SECONDS = float(os.environ.get("MANTA_SOAK_SECONDS", "1800"))
WARM_S = SECONDS / 2
SAMPLES = 180
# 250 bytes for each actor that dies meanwhile. What stays below is the allocator's, and what small tables take in yet;
# before the large ones are full it is a kilobyte an actor.
FULL_RUN_S = 1500.0
GROWTH_A_MINUTE = 0.2 * MIB if SECONDS >= FULL_RUN_S else 2 * MIB
DESCRIPTORS_A_MINUTE = 0.5
SERVICES = ("gcs", "raylet", "object-manager", "zygote")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600)]


class Watch:
    """Samples of all processes of a node with their driver, this one."""

    def __init__(self, processes: NodeProcesses, kept_pid: int) -> None:
        self._started = time.monotonic()
        pids = {
            "driver": os.getpid(),
            "supervisor": processes.supervisor_pid,
            **{name: processes.pid(name) for name in SERVICES},
            "worker of an actor": kept_pid,
        }
        self._processes = processes
        self._kept_pid = kept_pid
        self._services = {pid: Series(name) for name, pid in pids.items()}
        self._workers: dict[int, Series] = {}

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def look(self) -> None:
        """raises: AssertionError when a service is gone."""
        for pid, series in self._services.items():
            taken = sample(pid, self.elapsed_s)
            assert taken is not None, f"{series.name} has ended"
            series.samples.append(taken)
        for pid in self._processes.workers():
            taken = sample(pid, self.elapsed_s)
            if taken is not None and pid != self._kept_pid:
                self._workers.setdefault(pid, Series("worker of tasks")).samples.append(taken)

    def series(self) -> Iterator[Series]:
        """Once warm: of the services, and of the worker of tasks that lived longest."""
        yield from (series.after(WARM_S) for series in self._services.values())
        living = [series.after(WARM_S) for series in self._workers.values()]
        longest = max(living, key=lambda series: series.span_s, default=None)
        if longest is not None and longest.span_s > (SECONDS - WARM_S) / 2:
            yield longest


def test_no_process_grows_with_what_is_over(start_cluster: StartCluster) -> None:
    head = start_cluster({"num_cpus": 2}).head_node
    assert head is not None
    work = SteadyWork()
    watch = Watch(NodeProcesses.of(head), work.kept_pid)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        work.run_until(min(end, time.monotonic() + SECONDS / SAMPLES))
        watch.look()
    measured = list(watch.series())
    print(f"\n{work.tasks} tasks and calls, {work.actors} actors, {work.drivers} drivers in {SECONDS:.0f} s", end="; ")
    print(f"measured after {WARM_S:.0f} s")
    print(table(measured))
    ray.shutdown()
    grown = {series.name: series.bytes_a_minute / MIB for series in measured if grows(series)}
    assert not grown, "MiB a minute"
    open_more = {s.name: s.descriptors_a_minute for s in measured if s.descriptors_a_minute > DESCRIPTORS_A_MINUTE}
    assert not open_more, "descriptors a minute"


def grows(series: Series) -> bool:
    """Both must say so: the slope, and what the end holds more than the beginning."""
    return series.bytes_a_minute > GROWTH_A_MINUTE and series.grown > GROWTH_A_MINUTE * series.span_s / 60


def table(measured: list[Series]) -> str:
    lines = ["| process | first, MiB | last, MiB | KiB a minute | descriptors | threads |", "|---|---|---|---|---|---|"]
    for series in measured:
        first, last = series.samples[0], series.samples[-1]
        lines.append(
            f"| {series.name} | {first.bytes / MIB:.1f} | {last.bytes / MIB:.1f} | {series.bytes_a_minute / 1024:.0f} "
            f"| {first.descriptors} to {last.descriptors} | {last.threads} |"
        )
    return "\n".join(lines)
