"""How long one thing takes that nothing else goes on beside: `python benchmarks/latency.py [PYTHON ...]`.

Each is done some times, one after another, on a local cluster of two CPUs; the figure is the median, in ms. With the
interpreters of other environments, one that has upstream's wheel, say, it runs there as well and prints a column each.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

TIMES: Final = 10
MIB: Final = 1 << 20


def median_ms(act: Callable[..., object], prepare: Callable[[], Any] | None = None, times: int = TIMES) -> float:
    """prepare: makes the argument of each `act`, outside of the measured time."""
    took = []
    for _ in range(times):
        arguments = () if prepare is None else (prepare(),)
        started = time.perf_counter()
        act(*arguments)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def measure() -> Iterator[tuple[str, float]]:
    """What is done, and its median; in the Ray of this interpreter."""
    import numpy as np
    import ray
    from ray.exceptions import RayActorError, TaskCancelledError, WorkerCrashedError
    from ray.util.multiprocessing import Pool
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.queue import Queue

    ray.init(num_cpus=2, logging_level="ERROR", include_dashboard=False, log_to_driver=False)
    numbers = itertools.count()

    @ray.remote
    def one(_argument: object = None) -> int:
        return 1

    @ray.remote
    def sleeps(started: Any) -> None:
        ray.get(started.set.remote())
        while True:
            time.sleep(0.01)

    @ray.remote(max_retries=0)
    def dies() -> None:
        os._exit(1)

    @ray.remote
    def array() -> Any:
        return np.ones(8 * MIB, dtype=np.uint8)

    @ray.remote(num_cpus=0)
    class Actor:
        def __init__(self) -> None:
            self.number = 0

        def ping(self) -> int:
            return 1

        def calls(self) -> int:
            self.number += 1
            return self.number

    @ray.remote(num_cpus=0)
    class Flag:
        def __init__(self) -> None:
            self.number = 0

        def set(self) -> None:
            self.number += 1

        def get(self) -> int:
            return self.number

    def made(**options: Any) -> Any:
        actor = Actor.options(**options).remote()  # type: ignore[attr-defined]
        ray.get(actor.ping.remote())
        return actor

    def called(actor: Any) -> Any:
        ray.get(actor.calls.remote())
        return actor

    def gone(actor: Any) -> None:
        ray.kill(actor)
        with contextlib.suppress(RayActorError):
            ray.get(actor.ping.remote())

    def restarted(actor: Any) -> None:
        ray.kill(actor, no_restart=False)
        while ray.get(actor.calls.remote()) > 1:  # it was answered before the death
            continue

    flag = Flag.remote()  # type: ignore[attr-defined]

    def running() -> Any:
        before = ray.get(flag.get.remote())
        task = sleeps.remote(flag)
        while ray.get(flag.get.remote()) == before:
            continue
        return task

    def cancelled(task: Any) -> None:
        ray.cancel(task)
        with contextlib.suppress(TaskCancelledError):
            ray.get(task)

    def crashed() -> None:
        with contextlib.suppress(WorkerCrashedError):
            ray.get(dies.remote())

    def in_group(use: Callable[[Any], object]) -> None:
        group = placement_group([{"CPU": 1}])
        use(group)
        remove_placement_group(group)

    def in_turn() -> None:
        for count in (2, 1):
            ray.get(one.options(num_cpus=count).remote())

    def pool() -> None:
        with Pool(2) as processes:
            processes.map(abs, range(4))

    ray.get([one.remote() for _ in range(4)])
    ray.get(made().ping.remote())
    yield "task", median_ms(lambda: ray.get(one.remote()))
    yield "tasks of two shapes in turn, each on all CPUs", median_ms(in_turn) / 2
    yield (
        "task after a second in which nothing was done",
        median_ms(lambda _: ray.get(one.remote()), prepare=lambda: time.sleep(1), times=5),
    )
    yield (
        "task with an environment variable of its own",
        median_ms(
            lambda: ray.get(one.options(runtime_env={"env_vars": {"NUMBER": str(next(numbers))}}).remote()), times=5
        ),
    )
    yield (
        "task that takes an array of 8 MiB",
        median_ms(lambda x: ray.get(one.remote(x)), lambda: np.ones(8 * MIB, "u1")),
    )
    yield "task that returns an array of 8 MiB", median_ms(lambda: ray.get(array.remote()))
    yield "actor made and called", median_ms(made)
    yield "actor of a CPU made, called and killed", median_ms(lambda: gone(made(num_cpus=1)))
    yield (
        "four actors made and called",
        median_ms(
            lambda: ray.get([actor.ping.remote() for actor in [Actor.remote() for _ in range(4)]])  # type: ignore[attr-defined]
        ),
    )
    yield (
        "actor killed, restarted and called",
        median_ms(restarted, lambda: made(max_restarts=-1, max_task_retries=-1), times=5),
    )
    yield "actor killed, and the error of the next call", median_ms(gone, made)
    yield "running task cancelled", median_ms(cancelled, running, times=5)
    yield "task whose process dies, and its error", median_ms(crashed, times=5)
    yield (
        "placement group made, right after tasks",
        median_ms(
            lambda _: in_group(lambda group: ray.get(group.ready())),
            lambda: ray.get([one.remote() for _ in range(4)]),
            5,
        ),
    )
    yield (
        "placement group made, with a task in it",
        median_ms(lambda: in_group(lambda group: ray.get(one.options(placement_group=group).remote())), times=5),
    )
    yield (
        "placement group made, with an actor in it",
        median_ms(lambda: in_group(lambda group: made(placement_group=group, num_cpus=1)), times=5),
    )
    queue = Queue()
    queue.put(0)
    yield "queue: put and get", median_ms(lambda: (queue.put(1), queue.get()))
    yield "multiprocessing.Pool(2) made, mapped and closed", median_ms(pool, times=3)
    ray.shutdown()


def elsewhere(python: str) -> dict[str, float]:
    """raises: CalledProcessError when it fails there."""
    command = [python, os.path.abspath(__file__), "--json"]
    # Upstream would otherwise start its workers through uv when this was started by it.
    environment = {**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd="/")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def main() -> None:
    if sys.argv[1:] == ["--json"]:
        print(json.dumps(dict(measure())))
        return
    columns = [elsewhere(python) for python in (sys.executable, *sys.argv[1:])]
    print("| median, ms | " + " | ".join(["Manta", *sys.argv[1:]]) + " |")
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{figures[name]:.3g}" for figures in columns) + " |")


if __name__ == "__main__":
    main()
