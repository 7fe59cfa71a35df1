"""Who reads a process's channels: a thread that waits anyway, or else the stand-in.

A thread that waits for something that arrives on a channel reads by itself, so that the answer needs no hand-over: a
worker's main thread while it has nothing to run, any thread in get. One at a time holds the reactor's token; when it
leaves, it wakes the next that waits. While nobody waits, a second thread, the stand-in, takes the token after some
milliseconds: it sees results, cancels and new tasks while user code runs.
"""

from __future__ import annotations

import _thread
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from ray._runtime.loop.latch import Gate
from ray._runtime.loop.reactor import Reactor

log = logging.getLogger("ray.runtime")

# How long nobody has read before the stand-in does.
TAKE_OVER_S: Final = 0.005
# How long after the last change of readers the stand-in goes on looking every TAKE_OVER_S, before it parks. To wake it
# costs a reader little; looks that find nothing, in each of hundreds of actors that are called now and then, cost more.
_PARK_AFTER_S: Final = TAKE_OVER_S


def start_thread(run: Callable[[], None]) -> None:
    """One that `threading` knows and shows. raises: RuntimeError."""
    threading.Thread(target=run, name="manta-reader", daemon=True).start()


def start_bare_thread(run: Callable[[], None]) -> None:
    """For workers: threading's objects for it would be half of what it costs. raises: RuntimeError."""
    _thread.start_new_thread(run, ())


class Reading:
    """Passes the token of one reactor.

    on_take_over runs on the stand-in's thread when it takes the token while user code runs: time for a worker to hand
    back what is queued behind a long task. start: runs what it is given on a new thread. raises: RuntimeError.
    """

    def __init__(
        self,
        reactor: Reactor,
        on_take_over: Callable[[], None] = lambda: None,
        start: Callable[[Callable[[], None]], object] = start_thread,
    ) -> None:
        self._reactor = reactor
        self._on_take_over = on_take_over
        # Since when nobody has waited on the channels; 0.0 while somebody reads.
        self._unread_since = 0.0
        self._last_change = 0.0
        # Threads that wait for an answer but cannot read it, e.g. in a request to the GCS.
        self._blocked = 0
        self._waiting: list[Gate] = []
        self._claim = threading.Lock()
        self._standing_in = False
        self._parked = True
        self._stop = False
        self._look = threading.Lock()
        self._look.acquire()
        self._start = start
        # Of the stand-in's thread.
        self._ident = 0
        self._ended = threading.Lock()

    # -- threads that read

    def wait(self, gate: Gate, timeout_s: float) -> bool:
        """Wait at the gate, reading meanwhile unless another thread does. returns: whether it opened in time.

        raises: RaySystemError on the thread that runs a handler, which would wait for itself.
        """
        deadline = time.monotonic() + timeout_s
        while not gate.opened:
            if self._reactor.handling_here() and timeout_s > 0:
                raise _waits_for_itself()
            if self.try_take(gate, deadline):
                try:
                    self._read_until(gate, deadline)
                finally:
                    self.leave()
                if gate.opened or not self._reactor.closed:
                    return gate.opened
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._waiting.append(gate)
            try:
                # The reader may have left between our try and our entry in the list; it would not wake us then.
                if self._reactor.token.locked() or self._reactor.closed:
                    gate.wait(left)
            finally:  # left behind by Ctrl-C, it would be woken in the place of others
                self._waiting.remove(gate)
        return True

    def _read_until(self, gate: Gate, deadline: float) -> None:
        poll = self._reactor.poll
        # From here on whoever opens the gate wakes the poll; it may have been opened a moment before.
        gate.reader = self._reactor
        left = deadline - time.monotonic()
        # With no time left, what has arrived already still counts.
        poll(0.0 if gate.opened else max(left, 0.0))
        while not (gate.opened or self._reactor.closed) and (left := deadline - time.monotonic()) > 0:
            poll(left)

    def try_take(self, gate: Gate | None = None, deadline: float = math.inf) -> bool:
        """Take the token for this thread if it is free, or the stand-in's. Whoever got it calls leave().

        gate, deadline: what ends the wait for a stand-in that is held up in a handler.
        """
        token = self._reactor.token
        if self._reactor.closed:
            return False
        if token.acquire(blocking=False):
            if self._reactor.closed:  # meanwhile
                token.release()
                return False
            self._unread_since = 0.0
            return True
        if self._standing_in and self._claim.acquire(blocking=False):
            try:
                taken = self._take_from_stand_in(gate, deadline)
            finally:
                self._claim.release()
            if taken and self._reactor.closed:  # meanwhile
                token.release()
                return False
            return taken
        return False

    def _take_from_stand_in(self, gate: Gate | None, deadline: float) -> bool:
        """returns: False when a third thread was quicker, which reads until it has what it waits for; or too late."""
        while True:
            # Again in every round: a reader that leaves says that nobody reads, and the stand-in may come back on that.
            self._unread_since = 0.0
            self._reactor.wake()
            if self._reactor.token.acquire(timeout=TAKE_OVER_S):
                break
            if not self._standing_in:
                return False
            if (gate is not None and gate.opened) or time.monotonic() >= deadline:
                self._unread_since = time.monotonic()  # it is to go on
                return False
        # The stand-in may have been on its way in, and have seen the time before we cleared it.
        self._unread_since = 0.0
        return True

    def leave(self) -> None:
        """The reader has something else to do."""
        self._unread_since = self._last_change = time.monotonic()
        self._reactor.token.release()
        if self._waiting:
            self._wake_next()
        if self._parked:
            try:
                self._unpark()
            except RuntimeError as error:
                # Until the next wait nobody reads; what this one was for is there all the same.
                log.warning("stand_in_not_started error=%s", error)

    def _wake_next(self) -> None:
        try:
            self._waiting[0].kick()
        except IndexError:
            return  # it has gone meanwhile

    # -- the stand-in

    def start(self) -> None:
        """Have the stand-in read until somebody waits."""
        self._unread_since = self._last_change = time.monotonic()
        self._unpark()

    def block(self) -> None:
        """This thread is about to wait for something that it cannot read: take over now. raises: RuntimeError."""
        self._blocked += 1
        try:
            self._unpark()
        except RuntimeError:
            self._blocked -= 1
            raise

    def unblock(self) -> None:
        self._blocked -= 1

    def stop(self) -> None:
        """End the stand-in's thread."""
        self._stop = True
        self._reactor.wake()
        self._unpark()
        if self._ended.locked() and self._ident != threading.get_ident():
            with self._ended:
                return

    def drop_in_child(self) -> None:
        """In a forked child, which has no stand-in."""
        self._stop = True
        self._ended = threading.Lock()

    def _unpark(self) -> None:
        """raises: RuntimeError when the stand-in needs a thread and there is none to be had."""
        self._parked = False
        if not (self._ident or self._stop) and self._ended.acquire(blocking=False):
            try:
                self._start(self._live)
            except RuntimeError:
                # There is no thread to be had: the next that leaves tries again, and nobody waits for this one's end.
                self._parked = True
                self._ended.release()
                raise
        try:
            self._look.release()
        except RuntimeError:
            return  # released already and not yet noticed: it is about to look

    def _wanted(self) -> bool:
        since = self._unread_since
        return since > 0.0 and (self._blocked > 0 or time.monotonic() - since >= TAKE_OVER_S)

    def _live(self) -> None:
        self._ident = threading.get_ident()
        # A callback of the user's may fork on this thread; the child's is another.
        ended = self._ended
        try:
            self._run()
        finally:
            ended.release()

    def _run(self) -> None:
        reactor = self._reactor
        while not self._stop:
            if not self._wanted() or not reactor.token.acquire(blocking=False):
                self._look.acquire(timeout=TAKE_OVER_S)
                if self._unread_since == 0.0 and time.monotonic() - self._last_change > _PARK_AFTER_S:
                    self._park()
                continue
            self._standing_in = True
            try:
                if self._wanted() and not self._blocked:
                    self._take_over()
                while self._wanted() and not self._stop:
                    # Nobody waits for what comes; the processor is for those who run.
                    reactor.poll(awake=False)
            except (SystemExit, KeyboardInterrupt):
                # A callback of the user's may end the thread that it runs on, but for this one: nobody would read.
                log.exception("callback_wanted_to_end_the_reader")
            finally:
                self._standing_in = False
                reactor.token.release()
                if self._waiting:
                    self._wake_next()

    def _take_over(self) -> None:
        try:
            self._on_take_over()
        except Exception:
            log.exception("take_over_failed")

    def _park(self) -> None:
        """Sleep until leave(), block() or stop(): nobody needs a stand-in while a thread reads for long."""
        self._parked = True
        # leave() may have looked at _parked a moment before: look again before sleeping for good.
        if self._unread_since == 0.0 and not self._stop:
            self._look.acquire()
        self._parked = False


def _waits_for_itself() -> Exception:
    from ray.exceptions import RaySystemError

    return RaySystemError(
        "ray.get, ray.wait or the like was called on the thread that reads this process's channels: by a finalizer, "
        "the callback of a future, or while a value is unpickled there. It would wait for itself; hand the work to a "
        "thread, or submit a task or an actor call instead"
    )
