"""Finalizers of the user's that call the API where the collector runs them: in the middle of the runtime."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime import current

pytestmark = pytest.mark.usefixtures("session")

DEADLINE_S = 60


@ray.remote
def double(number: int) -> int:
    return 2 * number


@ray.remote(num_cpus=0)
class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    def read(self) -> list[str]:
        return self.lines


class Finalized:
    """Calls `act` when it is collected, and keeps what came of it."""

    def __init__(self, act: Callable[[], Any], results: list[Any]) -> None:
        self._act = act
        self._results = results

    def __del__(self) -> None:
        try:
            self._results.append(self._act())
        except Exception as error:
            self._results.append(error)


def finalized_within(lock: Any, *acts: Callable[[], Any]) -> list[Any]:
    """What the acts gave, called in finalizers of a thread that holds the lock."""
    results: list[Any] = []

    def run() -> None:
        for act in acts:
            kept = [Finalized(act, results)]
            with lock:
                kept.clear()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "the finalizer has deadlocked its thread"
    return results


def test_what_a_finalizer_submits_and_puts_under_the_lock_is_valid() -> None:
    large = np.arange(300_000)
    refs = finalized_within(
        current.runtime().lock,
        lambda: double.remote(1),
        lambda: ray.put("small"),
        lambda: ray.put(large),
        lambda: double.remote(ray.put(4)),
    )
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs), refs
    one, small, array, eight = ray.get(refs, timeout=DEADLINE_S)
    assert (one, small, eight) == (2, "small", 8) and (array == large).all()


def test_actor_calls_of_finalizers_keep_their_order_and_their_actor() -> None:
    log = Log.remote()
    ray.get(log.add.remote("first"))
    acts = [functools.partial(log.add.remote, f"line {number}") for number in range(20)]
    counts = ray.get(finalized_within(current.runtime().lock, *acts), timeout=DEADLINE_S)
    assert counts == list(range(2, 22))
    last = [log]
    del log, acts
    [ref] = finalized_within(current.runtime().lock, lambda: last.pop().read.remote())
    assert ray.get(ref, timeout=DEADLINE_S) == ["first", *(f"line {number}" for number in range(20))]


def test_what_has_to_wait_is_refused_in_a_finalizer_under_the_lock() -> None:
    ref = double.remote(1)
    errors = finalized_within(
        current.runtime().lock, lambda: ray.get(ref), lambda: ray.wait([ref]), lambda: Log.remote()
    )
    assert all(isinstance(error, ray.exceptions.RaySystemError) for error in errors), errors
    assert "ray.get was called in a finalizer" in str(errors[0])
    assert ray.get(ref, timeout=DEADLINE_S) == 2


def test_an_error_of_what_a_finalizer_submits_comes_with_its_ref() -> None:
    [ref] = finalized_within(current.runtime().lock, lambda: ray.put(threading.Lock()))
    with pytest.raises(TypeError, match="serialize"):
        ray.get(ref, timeout=DEADLINE_S)


def test_nothing_stays_of_what_finalizers_made() -> None:
    runtime = current.runtime()
    runtime.drops.settle()
    before = len(runtime.objects)
    refs = finalized_within(runtime.lock, lambda: double.remote(1), lambda: ray.put(1))
    ray.get(refs, timeout=DEADLINE_S)
    del refs
    runtime.drops.settle()
    assert len(runtime.objects) <= before


def test_a_finalizer_where_a_worker_takes_its_next_task_may_submit_and_not_wait() -> None:
    @ray.remote
    def in_a_worker() -> tuple[int, str]:
        refs: list[Any] = []
        waits = double.options(num_cpus=1_000_000).remote(4)  # what is ready already may be got
        with current.runtime().executor.serial._take:
            kept = [Finalized(lambda: double.remote(3), refs)]
            kept.clear()
            kept = [Finalized(lambda: ray.get(waits), refs)]
            kept.clear()
        ray.cancel(waits)
        return ray.get(refs[0]), type(refs[1]).__name__

    assert ray.get(in_a_worker.remote(), timeout=DEADLINE_S) == (6, "RaySystemError")


def test_a_finalizer_that_runs_where_the_arena_is_read_puts_and_may_not_wait() -> None:
    process = current.runtime()
    large = np.arange(200_000)
    stored = ray.put(large)
    results: list[Any] = []
    done = threading.Event()

    def inside(_pinned: Any) -> None:
        results.append(ray.put(large))
        with pytest.raises(ray.exceptions.RaySystemError, match="cannot wait there"):
            ray.get(stored)
        results.append("refused")
        done.set()

    @ray.remote
    def make() -> Any:
        return np.arange(200_000)

    made = make.remote()
    ray.wait([made], fetch_local=False)
    process.arena.get_async(made._id, (process.node_id,), process.address, inside)  # type: ignore[attr-defined]
    assert done.wait(DEADLINE_S)
    assert (ray.get(results[0], timeout=DEADLINE_S) == large).all() and results[1] == "refused"
