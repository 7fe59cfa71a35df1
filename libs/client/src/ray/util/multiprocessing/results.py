"""Results of a Pool's calls: all at once (AsyncResult), or one after the other (the iterators of imap)."""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from multiprocessing import TimeoutError
from typing import TYPE_CHECKING, Any

import ray
from ray.util.multiprocessing.pool_worker import PoolTaskError

if TYPE_CHECKING:
    from ray.util.multiprocessing.pool_worker import Arguments, PoolWorker


class AsyncResult:
    """The results of apply_async, map_async or starmap_async.

    batches: refs of lists of results, in order. single: there is one result, not a list.
    """

    def __init__(
        self,
        batches: Sequence[ray.ObjectRef],
        single: bool,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[Exception], Any] | None = None,
    ) -> None:
        self._batches = list(batches)
        self._single = single
        # The outcome, once it was fetched.
        self._fetched: list[Any] | None = None
        if callback is not None or error_callback is not None:
            report = threading.Thread(
                target=self._report, args=(callback, error_callback), name="pool-callback", daemon=True
            )
            report.start()

    def _report(self, callback: Callable[[Any], Any] | None, error_callback: Callable[[Exception], Any] | None) -> None:
        try:
            results = self._results()
        except Exception as error:  # a worker of the pool died: the caller has to hear of it like of any other error
            results = [PoolTaskError(error)]
        failed = next((result for result in results if isinstance(result, PoolTaskError)), None)
        if failed is None:
            if callback is not None:
                callback(results[0] if self._single else results)
        elif error_callback is not None:
            error_callback(failed)

    def _results(self) -> list[Any]:
        if self._fetched is None:
            self._fetched = list(itertools.chain.from_iterable(ray.get(self._batches)))
        return self._fetched

    def future(self) -> Future[Any]:
        """Of apply_async: a future of the list that holds its one result, or a PoolTaskError."""
        return self._batches[0].future()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all calls are done, or for `timeout` seconds."""
        if self._batches:
            ray.wait(self._batches, num_returns=len(self._batches), timeout=timeout)

    def get(self, timeout: float | None = None) -> Any:
        """The result, or the list of them. raises: what the first call that failed raised; TimeoutError."""
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError(f"the calls were not done within {timeout} s")
        results = self._results()
        for result in results:
            if isinstance(result, PoolTaskError):
                raise result.underlying
        return results[0] if self._single else results

    def ready(self) -> bool:
        """Whether all calls are done."""
        if not self._batches:
            return True
        done, _ = ray.wait(self._batches, num_returns=len(self._batches), timeout=0)
        return len(done) == len(self._batches)

    def successful(self) -> bool:
        """Whether no call failed. raises: ValueError when they are not all done."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        try:
            return not any(isinstance(result, PoolTaskError) for result in self._results())
        except ray.exceptions.RayError:
            return False


class IMapIterator:
    """Results in batches, of which each worker has one ahead; the next is made when one has come.

    A call that raised has a PoolTaskError in the place of its result, and those behind it go on.
    """

    def __init__(self, function: Any, batches: Iterator[Sequence[Arguments]], workers: Sequence[PoolWorker]) -> None:
        self._function = function
        self._batches = batches
        self._running: dict[ray.ObjectRef, PoolWorker] = {}
        self._results: collections.deque[Any] = collections.deque()
        for worker in workers:
            self._submit(worker)

    def _submit(self, worker: PoolWorker) -> None:
        batch = next(self._batches, None)
        if batch is not None:
            self._running[worker.run(self._function, batch)] = worker

    def __iter__(self) -> IMapIterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result. raises: StopIteration at the end; TimeoutError after `timeout` seconds."""
        if not self._results:
            if not self._running:
                raise StopIteration
            done, _ = ray.wait(self._awaited(), num_returns=1, timeout=timeout)
            if not done:
                raise TimeoutError(f"the next result did not come within {timeout} s")
            self._submit(self._running.pop(done[0]))
            self._results.extend(ray.get(done[0]))
        return self._results.popleft()

    def _awaited(self) -> list[ray.ObjectRef]:
        raise NotImplementedError


class OrderedIMapIterator(IMapIterator):
    """Results in the order of the calls."""

    def _awaited(self) -> list[ray.ObjectRef]:
        return [next(iter(self._running))]


class UnorderedIMapIterator(IMapIterator):
    """Results as they come."""

    def _awaited(self) -> list[ray.ObjectRef]:
        return list(self._running)
