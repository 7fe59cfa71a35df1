"""A pool of threads that stays right when the system has no thread to give."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Threads(ThreadPoolExecutor):
    """As its base, but work for which no thread could be started is not left behind in the queue.

    The base raises then, though the work is queued, and a later thread runs what its caller holds to have failed. Here
    the threads that there are take it. With none of them submit raises RuntimeError, and forgets it.
    """

    _work_queue: Any  # of the base

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                self._work_queue.get_nowait()
                raise
