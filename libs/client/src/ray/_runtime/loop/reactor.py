"""The one epoll of a process: whoever holds its token reads all channels.

The token is a lock; an eventfd ends the holder's wait. Who takes it when is said in reading.py.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from ray._runtime.loop.spinning import OTHERS_RAN_S, SPIN_S, Spinning

log = logging.getLogger("ray.runtime")

READ: Final = select.EPOLLIN
READ_WRITE: Final = select.EPOLLIN | select.EPOLLOUT


class _WakeUp:
    """An eventfd, open for as long as anybody who may write to it."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = -1
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Reactor:
    """Descriptors and timers, run by whoever calls `poll` with the token held.

    Handlers run on the holder's thread. One that raises is logged and its descriptor dropped: a bad peer must not stop
    the others.
    """

    _epoll: select.epoll
    _wake: _WakeUp | None

    def __init__(self) -> None:
        """It has no descriptors before `open`, so that it can be made ahead of a fork."""
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._soon: collections.deque[Callable[[], None]] = collections.deque()
        self._wake_sent = False
        self._spinning = Spinning(len(os.sched_getaffinity(0)))
        self.token = threading.Lock()
        self.closed = False
        # The thread that runs handlers, 0 for none.
        self._handler = 0
        # Ctrl-C in the middle of a handler would leave its work half done: it is kept until the round is over.
        self._interrupt: Callable[[], Any] | None = None

    def open(self) -> None:
        """Once, before anything else is called. raises: OSError when there are no descriptors left."""
        self._epoll = select.epoll()
        self._wake = _WakeUp()
        self._epoll.register(self._wake.fd, READ)

    def fileno(self) -> int:
        """The epoll descriptor, itself pollable: an event loop may watch it."""
        return self._epoll.fileno()

    def add(self, fd: int, handler: Callable[[int], None]) -> None:
        """Call handler(event mask) when `fd` is readable, or writable if `modify` asked for it."""
        # In this order: a sender on another thread may call modify() in between, which ignores what has no handler.
        self._epoll.register(fd, READ)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        if fd in self._handlers:
            self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` on the reading thread after delay_s seconds; a call that is not wanted any more must notice."""
        due = time.monotonic() + delay_s
        timer = (due, next(self._timer_numbers), call)
        heapq.heappush(self._timers, timer)
        # Looked at after the push: the holder may take out what came before ours and begin a wait without end.
        first = self._timers[:1]
        if not first or first[0] is timer:
            self.wake_unless_handling()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run `call` on the thread that reads, or that reads next; safe from any thread and from a destructor."""
        self._soon.append(call)
        # With nobody reading there is nobody to wake: the next round begins with what is in the list.
        if self.token.locked():
            self.wake_unless_handling()

    def wake(self) -> None:
        """End the holder's wait. One byte does until it is read."""
        if not self._wake_sent:
            self._wake_sent = True
            # Held in this frame: closed meanwhile, its number could be that of another descriptor.
            wake = self._wake
            if wake is not None:
                os.eventfd_write(wake.fd, 1)

    def wake_unless_handling(self) -> None:
        """End the holder's wait; one that handles events looks around after them anyway."""
        if not self._handler:
            self.wake()

    def poll(self, timeout_s: float = -1.0, *, awake: bool = True) -> None:
        """Wait for events once, at most timeout_s seconds (-1: until something happens), and handle them.

        awake: whether a short wait may be spent awake; see spinning.py.
        """
        if self._timers:
            until = max(0.0, self._timers[0][0] - time.monotonic())
            timeout_s = until if timeout_s < 0 else min(timeout_s, until)
        if self._soon:
            timeout_s = 0.0
        ready = self._epoll.poll(0.0, 64) if timeout_s == 0.0 else self._await_events(timeout_s, awake)
        # Were this interrupted here, the events would come again: the epoll is level-triggered.
        self._handler = threading.get_ident()
        try:
            self._handle(ready)
        finally:
            self._handler = 0
            if self._interrupt is not None:
                interrupt, self._interrupt = self._interrupt, None
                interrupt()

    def _await_events(self, timeout_s: float, awake: bool) -> list[tuple[int, int]]:
        """Wait for events; see spinning.py for the moment before the sleep."""
        poll = self._epoll.poll
        spinning = self._spinning
        began = last = time.monotonic()
        if awake and spinning.worthwhile():
            while True:
                ready = poll(0.0, 64)
                now = time.monotonic()
                if ready:
                    spinning.waited(now - began)
                    return ready
                if now - began > SPIN_S or now - last > OTHERS_RAN_S:
                    break
                last = now
                os.sched_yield()
        ready = poll(timeout_s, 64)
        spinning.waited(time.monotonic() - began)
        return ready

    def defer_interrupt(self, interrupt: Callable[[], Any]) -> bool:
        """From a signal handler: call `interrupt` after this round. returns: False when this thread handles none."""
        # Another one that does, the stand-in say, must not be interrupted in the place of this.
        here = self.handling_here()
        if here:
            self._interrupt = interrupt
        return here

    def handling_here(self) -> bool:
        """Whether this thread runs a handler: what it waits for then, nobody reads."""
        return self._handler == threading.get_ident()

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        wake = self._wake.fd if self._wake is not None else -1
        for fd, events in ready:
            if fd == wake:
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
                # It may have closed the descriptor, whose number another thread has got and watched by now.
                if self._handlers.get(fd) is handler:
                    self.remove(fd)
        soon = self._soon
        # Those that come meanwhile are of the next round, or it might never end.
        for _ in range(len(soon)):
            self._run(soon.popleft())
        if self._timers:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._run(heapq.heappop(self._timers)[2])

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            # It must not end the thread that reads, nor keep the calls behind it from running.
            log.exception("reactor_call_failed call=%r", call)

    def drop_in_child(self, end: Callable[[], NoReturn]) -> None:
        """In a forked child: its descriptors are the parent's connections, and are not to be read or written to here.

        Others take their numbers, lest what still knows them hits something else. end: for whoever comes to read.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (*self._handlers, *self._own()):
            os.dup2(null, fd, inheritable=False)
        os.close(null)
        self.poll = lambda *_arguments, **_options: end()  # type: ignore[method-assign]

    def _own(self) -> list[int]:
        if self.closed:
            return []
        return [self._epoll.fileno(), *([] if self._wake is None else [self._wake.fd])]

    def close(self) -> None:
        """End it for good. A thread that still polls is woken and let go first."""
        self.closed = True
        self.wake()
        with self.token:
            self._close()

    def _close(self) -> None:
        # Late wakes, of a ref that is dropped now for one, have nobody to wake.
        self._wake_sent = True
        self._wake = None
        self._epoll.close()
        self._handlers.clear()
        self._timers.clear()
        self._soon.clear()
