"""Finalizers run anywhere, also where their thread holds a lock of ours: they come back, or are told they cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from ray._runtime.execution.concurrency import ConcurrencyGroups
from ray._runtime.execution.execution import RUNNING
from ray._runtime.execution.threaded_lane import ThreadedLane
from ray._runtime.process.metric_table import TABLE
from ray._runtime.process.placement_groups import PlacementGroups
from ray._runtime.tasks.lease_client import Leasing
from ray.exceptions import RaySystemError
from ray.util.metrics import Counter

DEADLINE_S = 20.0


def comes_back_from(finalizer: Callable[[], object], lock: Any) -> BaseException | None:
    """Run it on a thread that holds the lock. returns: what it raised."""
    raised: list[BaseException | None] = []

    def run() -> None:
        with lock:
            try:
                finalizer()
            except BaseException as error:
                raised.append(error)
            else:
                raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert raised, "it waits for itself"
    return raised[0]


def test_a_finalizer_may_remove_a_placement_group() -> None:
    lock = threading.RLock()
    process: Any = SimpleNamespace(
        gcs=SimpleNamespace(request=lambda **_body: Future()),
        lock=lock,
        inside=lock._is_owned,  # type: ignore[attr-defined]
        after_lock=lambda: None,
    )
    leasing = Leasing(process)
    process.submitter = SimpleNamespace(leasing=leasing)
    groups = PlacementGroups(process)
    assert comes_back_from(lambda: groups.remove(b"g" * 18), groups._lock) is None
    assert comes_back_from(lambda: groups.remove(b"h" * 18), lock) is None
    # Another thread is in the middle of something, and may wait for us.
    with lock:
        other = threading.Thread(target=groups.remove, args=(b"i" * 18,))
        other.start()
        other.join(DEADLINE_S)
        assert not other.is_alive()
    assert len(groups._removing) == 3


def test_a_finalizer_may_count() -> None:
    counter = Counter("finalized")
    assert comes_back_from(counter.inc, TABLE._lock) is None


def test_a_finalizer_cannot_wait_where_a_threaded_actor_takes_its_next_call() -> None:
    executor: Any = SimpleNamespace(calls=SimpleNamespace(replies=SimpleNamespace(flush=lambda: None)))
    process: Any = None
    lane = ThreadedLane(process, executor, ConcurrencyGroups(2, {}))

    def waits() -> None:
        execution: Any = SimpleNamespace(waits=0)
        RUNNING.set(execution)
        lane.begin_wait(None)

    assert isinstance(comes_back_from(waits, lane._guard), RaySystemError)
