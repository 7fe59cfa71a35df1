"""The event loop of a process for gRPC, on a thread of its own, started when it is first needed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("ray.runtime")


class IoStopped(RuntimeError):
    """The process has left the cluster: nothing can be sent or asked any more. Call ray.init() for a new connection."""

    def __str__(self) -> str:
        return "the connection to the cluster was shut down; call ray.init() first"


class IoThread:
    """Runs coroutines for threads that have no loop. Stopping it cancels what still runs, and is final."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        # Reentrant: a finalizer of the user's may run while it is held, and send something.
        self._guard = threading.RLock()
        # A loop keeps weak references to its tasks only.
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; started if it is not.

        raises: IoStopped after `stop`; OSError or RuntimeError when the system has no descriptor or thread for it.
        """
        with self._guard:
            if self._stopped:
                raise IoStopped
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run, args=(loop,), name="manta-io", daemon=True)
                try:
                    thread.start()
                except BaseException:  # kept, it would be a loop that nobody runs
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Start a coroutine; its result or exception comes in the future. raises: as `loop`."""
        try:
            loop = self.loop
        except BaseException:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine that handles its own failures and lives until `stop`. Called on the loop's thread."""
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("io_task_failed task=%s", task.get_name(), exc_info=task.exception())

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called; what is handed to the loop before that still runs."""
        return self._stopped

    def stop(self) -> None:
        with self._guard:
            self._stopped = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
