"""The backend of joblib that runs batches of calls on the actors of a Pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

import ray
from ray.util.multiprocessing import Pool
from ray.util.multiprocessing.pool_worker import PoolTaskError


class RayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """n_jobs actors; -1 is one for each CPU of the cluster. ray_remote_args: options of the actors."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, *args: Any, ray_remote_args: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ray_remote_args = ray_remote_args
        self._pool: Pool | None = None
        # Where joblib's callbacks run: they dispatch further calls, which the thread that reads must not wait for.
        self._callbacks: ThreadPoolExecutor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """raises: ValueError for 0."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not ray.is_initialized():
            ray.init()
        return max(int(ray.cluster_resources().get("CPU", 1)) + 1 + n_jobs, 1)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **_: Any
    ) -> int:
        """Make the actors; returns their number. raises: ValueError when the cluster has fewer CPUs."""
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._pool = Pool(count, ray_remote_args=self._ray_remote_args)
        self._callbacks = ThreadPoolExecutor(1, thread_name_prefix="joblib-callback")
        return count

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Run a batch of calls on an actor."""
        pool, callbacks = self._pool, self._callbacks
        assert pool is not None and callbacks is not None, "joblib configures a backend before it submits"
        future = pool.apply_async(func).future()
        if callback is not None:
            future.add_done_callback(lambda done: callbacks.submit(callback, done))
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch. raises: what one of its calls raised."""
        (result,) = out.result()
        if isinstance(result, PoolTaskError):
            raise result.underlying
        return result

    def terminate(self) -> None:
        pool, self._pool = self._pool, None
        callbacks, self._callbacks = self._callbacks, None
        if pool is not None:
            pool.terminate()
        if callbacks is not None:
            # Not waited for: one of its threads may be who ends us.
            callbacks.shutdown(wait=False, cancel_futures=True)
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End all calls that are under way."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)
