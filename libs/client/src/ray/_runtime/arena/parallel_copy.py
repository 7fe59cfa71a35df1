"""Copies without the GIL, large ones by several threads.

A thread that has helped waits a second for the next copy: on busy processors one that sleeps gets its turn sooner than
one that is new, which is worth a sixth of a copy of 100 MiB. Whoever copies waits for a helper that has begun, and
takes back what it had for one that has not.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Iterator
from ctypes import memmove
from typing import Final

from ray._runtime.arena.buffer_address import address_of

# From here a second thread pays for itself: on two processors, in memory that is mapped. In other memory it does so
# from 2 MiB on, but each range is new only once.
_PARALLEL_BYTES: Final = 8 * 1024 * 1024
_COPY_THREADS: Final = 4
_ALIGNMENT: Final = 64
_IDLE_S: Final = 1.0

# (destination, source, bytes); the first two are addresses.
Block = tuple[int, int, int]


def copy(destination: memoryview, source: memoryview) -> None:
    """Copy contiguous bytes to as many others. Nobody writes any more when it returns or raises."""
    if destination.readonly:
        raise TypeError("cannot copy into a range that is read-only")
    size = destination.nbytes
    to, origin = address_of(destination), address_of(source)
    threads = min(_COPY_THREADS, len(os.sched_getaffinity(0))) if size >= _PARALLEL_BYTES else 1
    if threads == 1:
        memmove(to, origin, size)
        return
    # One for each: after every block a thread waits for the GIL, up to 5 ms if others compute.
    blocks = _blocks(to, origin, size, threads)
    _forget_those_of_the_parent()
    copy_together(blocks, [Share(blocks) for _ in range(threads - 1)])


def copy_together(blocks: Iterator[Block], shares: list[Share]) -> None:
    """Copy the blocks, with a helper for each share. What a signal's handler raises meanwhile comes out at the end.

    The range is given back then, and nobody must write to it any more. Not by a `finally`, since a handler may raise at
    its very beginning.
    """
    raised: BaseException | None = None
    helpers = len(shares)
    while shares:
        try:
            if raised is None:
                for share in shares:
                    share.offer(helpers)
                for block in blocks:
                    memmove(*block)
            while shares:
                shares[-1].end()
                shares.pop()
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised


def _blocks(to: int, origin: int, size: int, count: int) -> Iterator[Block]:
    step = -(-size // (count * _ALIGNMENT)) * _ALIGNMENT
    # Of a list, since two threads cannot advance a generator.
    return iter([(to + at, origin + at, min(step, size - at)) for at in range(0, size, step)])


class Share:
    """What one helper copies: blocks, for as long as there are any."""

    __slots__ = ("_blocks", "_done", "_ended", "_owner")

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        # Whoever comes first is in it: the helper, or the one that no longer needs it.
        self._owner: dict[str, str] = {}
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._ended = False

    def offer(self, most: int) -> None:
        """Give it to a helper that waits, or to a new one while there are fewer than `most`; or else to nobody."""
        try:
            helper = _waiting.pop()
        except IndexError:
            if len(_helpers) < most:
                Helper().start(self)
        else:
            helper.help(self)

    def run(self) -> None:
        if self._owner.setdefault("is", "helper") == "helper":
            for block in self._blocks:
                memmove(*block)
        self._ended = True
        self._done.release()

    def end(self) -> None:
        """Take it back, or if the helper has begun, wait for its end. May be repeated, after it was interrupted."""
        while not self._ended and self._owner.setdefault("is", "nobody") == "helper":
            self._done.acquire()


class Helper:
    """A thread that copies shares. Ends when it had nothing to do for a while."""

    __slots__ = ("_bell", "_share")

    def __init__(self) -> None:
        self._bell = _thread.allocate_lock()
        self._bell.acquire()
        self._share: Share | None = None

    def start(self, share: Share) -> None:
        """Nothing is begun if the system has no thread for it, or the interpreter is about to end."""
        _helpers.add(self)
        try:
            _thread.start_new_thread(self._run, (share,))
        except BaseException as error:
            _helpers.discard(self)
            if not isinstance(error, RuntimeError):
                raise

    def help(self, share: Share) -> None:
        self._share = share
        self._bell.release()

    def _run(self, first: Share) -> None:
        share: Share | None = first
        while share is not None:
            share.run()
            share = self._next()
        _helpers.discard(self)

    def _next(self) -> Share | None:
        self._share = None
        _waiting.append(self)
        if not self._bell.acquire(timeout=_IDLE_S):
            try:
                _waiting.remove(self)
            except ValueError:
                # Somebody has just taken it, and rings next unless a signal's handler raised there.
                if not self._bell.acquire(timeout=_IDLE_S):
                    return None
            else:
                return None
        return self._share


# No lock: each step is one call of a list's or a set's. Two threads that start a helper at once may make one too many.
_waiting: Final[list[Helper]] = []
_helpers: Final[set[Helper]] = set()
_pid = os.getpid()


def _forget_those_of_the_parent() -> None:
    """A forked child has none of its parent's threads."""
    global _pid
    if _pid != os.getpid():
        _pid = os.getpid()
        _waiting.clear()
        _helpers.clear()
