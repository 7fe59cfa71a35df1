"""Copies without the GIL, large ones by several threads.

The threads are made for one copy and end with it: a start takes 30 us where the copy takes 500, and nothing of them is
left at the end of the runtime, or in a process that a user forks.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Iterator
from ctypes import memmove
from typing import Final

from ray._runtime.buffer_address import address_of

# From here a second thread pays for itself: on two processors, in memory that is mapped. In other memory it does so
# from 2 MiB on, but each range is new only once.
_PARALLEL_BYTES: Final = 8 * 1024 * 1024
_COPY_THREADS: Final = 4
# Blocks for each thread: one that the machine slows down leaves the rest to the others.
_COPY_BLOCKS: Final = 2
_ALIGNMENT: Final = 64

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
    blocks = _blocks(to, origin, size, threads * _COPY_BLOCKS)
    shares = [Share(blocks) for _ in range(threads - 1)]
    try:
        for share in shares:
            share.start()
        for block in blocks:
            memmove(*block)
    finally:
        for share in shares:
            share.end()


def _blocks(to: int, origin: int, size: int, count: int) -> Iterator[Block]:
    step = -(-size // (count * _ALIGNMENT)) * _ALIGNMENT
    # Of a list, since two threads cannot advance a generator.
    return iter([(to + at, origin + at, min(step, size - at)) for at in range(0, size, step)])


class Share:
    """What a further thread copies: blocks, for as long as there are any."""

    __slots__ = ("_blocks", "_claim", "_done", "_ended")

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        # Taken by the thread that begins, or by the one that no longer needs it to.
        self._claim = _thread.allocate_lock()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._ended = False

    def start(self) -> None:
        try:
            _thread.start_new_thread(self.run, ())
        except RuntimeError:  # a limit of the system's, or the end of the interpreter: the others copy alone
            self._ended = True

    def run(self) -> None:
        if self._claim.acquire(blocking=False):
            for block in self._blocks:
                memmove(*block)
        self._ended = True
        self._done.release()

    def end(self) -> None:
        """Have the thread not begin, or wait for its end.

        What a signal's handler raises meanwhile comes out after that: the range is given back then, and the thread must
        not write to it any more.
        """
        raised: BaseException | None = None
        while not self._ended:
            try:
                if raised is None and self._claim.acquire(blocking=False):
                    return
                self._done.acquire()
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised
