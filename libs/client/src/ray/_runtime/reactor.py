"""The one epoll of a process: whoever holds its token reads all channels.

In a driver a thread of its own reads. In an idle worker the main thread does, so that a task needs no hand-over;
while a task has been running for some milliseconds, or its thread blocks in get, a second thread takes the token
(`Reader`). The token is a lock; an eventfd ends the holder's wait.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("ray.runtime")

READ: Final = select.EPOLLIN
READ_WRITE: Final = select.EPOLLIN | select.EPOLLOUT


class Reactor:
    """Descriptors and timers, run by whoever calls `poll` with the token held.

    Handlers run on the holder's thread. One that raises is logged and its descriptor dropped: a bad peer must not stop
    the others.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, READ)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._soon: list[Callable[[], None]] = []
        self._wake_sent = False
        self.token = threading.Lock()

    def fileno(self) -> int:
        """The epoll descriptor, itself pollable: an event loop may watch it."""
        return self._epoll.fileno()

    def add(self, fd: int, handler: Callable[[int], None]) -> None:
        """Call handler(event mask) when `fd` is readable, or writable if `modify` asked for it."""
        self._handlers[fd] = handler
        self._epoll.register(fd, READ)

    def modify(self, fd: int, events: int) -> None:
        if fd in self._handlers:
            self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` on the reading thread after delay_s seconds; a call that is not wanted any more must notice."""
        due = time.monotonic() + delay_s
        first = not self._timers or due < self._timers[0][0]
        heapq.heappush(self._timers, (due, next(self._timer_numbers), call))
        if first:
            self.wake()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` on the reading thread; safe from any thread and from a destructor."""
        self._soon.append(call)
        self.wake()

    def wake(self) -> None:
        """End the holder's wait. One byte does until it is read."""
        if not self._wake_sent:
            self._wake_sent = True
            os.eventfd_write(self._wake, 1)

    def poll(self, timeout_s: float = -1.0) -> None:
        """Wait for events once, at most timeout_s seconds (-1: until something happens), and handle them."""
        if self._timers:
            until = max(0.0, self._timers[0][0] - time.monotonic())
            timeout_s = until if timeout_s < 0 else min(timeout_s, until)
        for fd, events in self._epoll.poll(timeout_s, 64):
            if fd == self._wake:
                os.eventfd_read(fd)
                # After the read: a wake() in between is answered by this very round.
                self._wake_sent = False
                continue
            handler = self._handlers.get(fd)
            if handler is None:
                continue
            try:
                handler(events)
            except Exception:
                log.exception("channel_handler_failed fd=%d", fd)
                self.remove(fd)
        if self._soon:
            calls, self._soon = self._soon, []
            for call in calls:
                call()
        if self._timers:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        self._epoll.close()
        os.close(self._wake)
        self._handlers.clear()
        self._timers.clear()
        self._soon.clear()


class ReaderThread:
    """A driver's reading thread: holds the token from start to stop."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="manta-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop = True
        self._reactor.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with self._reactor.token:
            while not self._stop:
                self._reactor.poll()


# How long a task runs before a second thread reads in its stead.
TAKE_OVER_S: Final = 0.005
# How long after the last task the second thread goes on looking every TAKE_OVER_S, before it parks.
_PARK_AFTER_S: Final = 0.2


class StandIn:
    """A worker's second thread: reads while the main thread runs a long task or blocks.

    The main thread calls busy() before it runs something and idle() when it is ready to read again; both are cheap
    while the stand-in ticks. `on_take_over` runs on the stand-in's thread when it takes the token: time to hand back
    what is queued behind a long task.
    """

    def __init__(self, reactor: Reactor, on_take_over: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_take_over = on_take_over
        self._since = 0.0
        self._last = 0.0
        self._blocked = 0
        self._parked = True
        self._stop = False
        self._work = threading.Lock()
        self._work.acquire()
        self._thread: threading.Thread | None = None

    def busy(self) -> None:
        self._last = self._since = time.monotonic()
        if self._parked:
            self._unpark()

    def idle(self) -> None:
        """The main thread wants to read; returns with the token held."""
        self._since = 0.0
        if not self._reactor.token.acquire(blocking=False):
            self._reactor.wake()
            self._reactor.token.acquire()

    def block(self) -> None:
        """The main thread is about to wait for something that arrives on a channel: take over now."""
        self._blocked += 1
        self._unpark()

    def unblock(self) -> None:
        self._blocked -= 1

    def stop(self) -> None:
        self._stop = True
        self._reactor.wake()
        self._unpark()

    def _unpark(self) -> None:
        self._parked = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="manta-stand-in", daemon=True)
            self._thread.start()
        try:
            self._work.release()
        except RuntimeError:
            pass  # released already and not yet noticed: the wake-up is under way

    def _wanted(self) -> bool:
        since = self._since
        return since > 0.0 and (self._blocked > 0 or time.monotonic() - since >= TAKE_OVER_S)

    def _run(self) -> None:
        reactor = self._reactor
        while not self._stop:
            if not self._wanted():
                self._work.acquire(timeout=TAKE_OVER_S)
                if time.monotonic() - self._last > _PARK_AFTER_S and self._since == 0.0:
                    self._parked = True
                    # busy() may have seen us unparked a moment ago: look again before sleeping for good.
                    if self._since == 0.0:
                        self._work.acquire()
                    self._parked = False
                continue
            with reactor.token:
                if self._wanted() and not self._blocked:
                    self._on_take_over()
                while self._wanted() and not self._stop:
                    reactor.poll()
