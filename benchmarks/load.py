"""What grows with load, and what an idle cluster uses: `python benchmarks/load.py [--most N]`, either side's Python.

Submit cost and memory for each queued task, with 1,000 to N tasks queued behind one that does not end; then the
processor time of all processes of an idle cluster over 30 s. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from pathlib import Path


def processes() -> set[int]:
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def processor_seconds(pids: set[int]) -> float:
    """User and system time of these processes so far; one that ended meanwhile counts nothing."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest number of queued tasks")
    most = parser.parse_args().most
    before = processes()
    import ray

    ray.init(num_cpus=1, logging_level="ERROR", include_dashboard=False)
    started = processes() - before | {os.getpid()}

    @ray.remote
    def forever() -> None:
        time.sleep(3600)

    @ray.remote
    def small(number: int) -> int:
        return number

    ray.get([small.remote(number) for number in range(100)])
    time.sleep(2)
    idle = processor_seconds(started)
    time.sleep(30)
    idle = processor_seconds(started) - idle

    first = forever.remote()
    queued = []
    submit: dict[int, float] = {}
    gc.collect()
    at_first = resident_bytes()
    count = 1000
    while count <= most:
        began, more = time.process_time(), count - len(queued)
        queued += [small.remote(number) for number in range(more)]
        submit[count] = (time.process_time() - began) / more * 1e6
        count *= 10
    per_task = (resident_bytes() - at_first) / len(queued)
    figures = {
        "submit, us of processor time a task, by tasks queued": submit,
        "memory of a queued task (bytes)": per_task,
        "idle cluster, processor time over 30 s (% of one)": idle / 30 * 100,
    }
    print(json.dumps(figures), flush=True)
    # Nobody waits for a million tasks: the cluster of a driver that is gone goes too.
    del first
    os._exit(0)


if __name__ == "__main__":
    main()
