"""Pool: multiprocessing.Pool, with actors for its processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.util.multiprocessing.pool_worker import Arguments, PoolActor, PoolTaskError, PoolWorker
from ray.util.multiprocessing.results import AsyncResult, IMapIterator, OrderedIMapIterator, UnorderedIMapIterator

__all__ = ["AsyncResult", "IMapIterator", "Pool", "PoolActor", "PoolTaskError"]

# map() makes about so many chunks for each process, so that one slow chunk does not hold up the end for long.
_CHUNKS_PER_PROCESS = 4


class Pool:
    """Runs calls of a function on a fixed number of processes, anywhere in the cluster.

    processes: their number; all CPUs of the cluster by default. initializer(*initargs) runs first in each.
    maxtasksperchild: batches after which a process is replaced. context: ignored. ray_address: the cluster, if
    ray.init() was not called. ray_remote_args: options of the actors, which take no CPU by default.
    raises: ValueError for a number of processes below 1 or above the CPUs of the cluster; TypeError for an initializer
    that cannot be called.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError(f"the initializer must be callable, and is {type(initializer).__name__}")
        count = _connect(processes, ray_address)
        options = {"num_cpus": 0, "scheduling_strategy": "SPREAD", **(ray_remote_args or {})}
        actor_class = ray.remote(**options)(PoolActor)
        arguments = tuple(initargs or ())
        self._closed = False
        self._turns = itertools.count()
        self._workers = [
            PoolWorker(lambda: actor_class.remote(initializer, arguments), maxtasksperchild) for _ in range(count)
        ]

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    # -- one call

    def apply(
        self, func: Callable[..., Any], args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """func(*args, **kwargs) in one of the processes; waits for it. raises: what it raises."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        """As apply, without waiting. The callbacks run on a thread, with the result or a PoolTaskError."""
        self._check_running()
        ref = self._next_worker().run(func, [(tuple(args or ()), dict(kwargs or {}))])
        return AsyncResult([ref], True, callback, error_callback)

    # -- many calls

    def map(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """[func(item) for item in iterable], in chunks. raises: what the first of them raised."""
        results: list[Any] = self.map_async(func, iterable, chunksize).get()
        return results

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        """As map, without waiting."""
        return self._map_async(func, _one_each(iterable), chunksize, callback, error_callback)

    def starmap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """As map, with func(*item)."""
        results: list[Any] = self._map_async(func, _unpacked(iterable), chunksize).get()
        return results

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        """As starmap, without waiting."""
        return self._map_async(func, _unpacked(iterable), None, callback, error_callback)

    def _map_async(
        self,
        func: Callable[..., Any],
        calls: Iterator[Arguments],
        chunksize: int | None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> AsyncResult:
        self._check_running()
        known = list(calls)
        if chunksize is None:
            chunksize = max(1, -(-len(known) // (_CHUNKS_PER_PROCESS * len(self._workers))))
        batches = list(_batches(iter(known), chunksize))
        function = _shared(func) if len(batches) > 1 else func
        refs = [self._next_worker().run(function, batch) for batch in batches]
        return AsyncResult(refs, False, callback, error_callback)

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1) -> OrderedIMapIterator:
        """Results in order, as they are asked for; `iterable` is read as far ahead as there are processes."""
        self._check_running()
        batches = _batches(_one_each(iterable), 1 if chunksize is None else chunksize)
        return OrderedIMapIterator(_shared(func), batches, self._workers)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> UnorderedIMapIterator:
        """As imap, each result as soon as it is there."""
        self._check_running()
        batches = _batches(_one_each(iterable), 1 if chunksize is None else chunksize)
        return UnorderedIMapIterator(_shared(func), batches, self._workers)

    def _next_worker(self) -> PoolWorker:
        return self._workers[next(self._turns) % len(self._workers)]

    # -- the end

    def close(self) -> None:
        """Take no further calls; the processes end when they have done what they have."""
        self._closed = True
        for worker in self._workers:
            worker.close()

    def terminate(self) -> None:
        """End the processes at once; calls that are under way fail."""
        self._closed = True
        for worker in self._workers:
            worker.kill()

    def join(self) -> None:
        """Wait until all processes have ended. raises: ValueError before close() or terminate()."""
        if not self._closed:
            raise ValueError("Pool is still running")
        ends = [end for worker in self._workers for end in worker.ends()]
        if ends:
            ray.wait(ends, num_returns=len(ends))

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()


def _connect(processes: int | None, address: str | None) -> int:
    """Be connected to a cluster; returns how many processes the pool has."""
    if processes is not None and processes <= 0:
        raise ValueError("Processes in the pool must be >0.")
    if not ray.is_initialized():
        if address is not None:
            ray.init(address=address)
        else:
            ray.init(num_cpus=processes)
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if processes is None:
        return max(cpus, 1)
    if processes > cpus:
        raise ValueError(f"The pool is to have {processes} processes, and the Ray cluster has only {cpus} CPUs.")
    return processes


def _shared(func: Callable[..., Any]) -> ray.ObjectRef:
    """The function as an object, so that it is pickled once for all batches."""
    return ray.put(func)


def _one_each(iterable: Iterable[Any]) -> Iterator[Arguments]:
    items = iter(iterable)
    return (((item,), {}) for item in items)


def _unpacked(iterable: Iterable[Any]) -> Iterator[Arguments]:
    items = iter(iterable)
    return ((item, {}) for item in items)


def _batches(calls: Iterator[Arguments], size: int) -> Iterator[list[Arguments]]:
    """raises: ValueError for a size below 1."""
    if size < 1:
        raise ValueError(f"chunksize must be at least 1, not {size}")
    return _chunked(calls, size)


def _chunked(calls: Iterator[Arguments], size: int) -> Iterator[list[Arguments]]:
    while batch := list(itertools.islice(calls, size)):
        yield batch
