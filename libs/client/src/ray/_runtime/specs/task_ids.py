"""Ids of tasks and puts, drawn without a system call: a random prefix for the process, and a counter.

A task id is 8 bytes that are unique in the job, then the actor's id, or 12 bytes of 0xff and the job's id. The 8 bytes
are a random prefix of 5 and a counter of 3, so 2**24 ids share a prefix; then another is drawn. Two of 10,000 prefixes
collide with a probability of 5e-5 within one job.
"""

from __future__ import annotations

import itertools
import os
from typing import Final

from manta_common.ids import NO_ACTOR

TASK_ID_SIZE: Final = 24
_PREFIX: Final = 5
_COUNTER: Final = 3
_PER_PREFIX: Final = 1 << (8 * _COUNTER)
# Of the 32 bits of an object's index the upper half is for puts, so they never meet a task's returns.
_FIRST_PUT: Final = 1 << 31


def is_put(object_id: bytes) -> bool:
    """Whether the object was put, and is not the result of a task."""
    return int.from_bytes(object_id[TASK_ID_SIZE:], "little") >= _FIRST_PUT


class TaskIds:
    """The ids that one process hands out for one job."""

    def __init__(self, job_id: bytes) -> None:
        self._suffix = NO_ACTOR + job_id
        # One value, so that a thread never takes a number of one prefix for another.
        self._source = (os.urandom(_PREFIX), itertools.count())
        self.own = os.urandom(8) + self._suffix
        self._puts = itertools.count(_FIRST_PUT)

    def next_task(self) -> bytes:
        return self._unique() + self._suffix

    def next_actor_task(self, actor_id: bytes) -> bytes:
        return self._unique() + actor_id

    def _unique(self) -> bytes:
        prefix, count = self._source
        number = next(count)
        if number < _PER_PREFIX:
            return prefix + number.to_bytes(_COUNTER, "big")
        # Of several threads that come here the last one's prefix stays; the others' serve for one id each.
        self._source = source = (os.urandom(_PREFIX), itertools.count(1))
        return source[0] + bytes(_COUNTER)

    def next_put(self) -> bytes:
        number = next(self._puts)
        if number >= 1 << 32:
            self.own = os.urandom(8) + self._suffix
            self._puts = itertools.count(_FIRST_PUT)
            number = next(self._puts)
        return self.own + number.to_bytes(4, "little")
