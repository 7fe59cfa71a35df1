"""Tasks that failed and run again, told to whoever watches the program: each kind of task once in a while."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord

log = logging.getLogger("ray.runtime")

# Of tasks of one name a notice comes at most this often; the next one counts those between.
EVERY_S: Final = 5.0
_NAMES: Final = 1_000


class RetryNotices:
    """Of `process`; its lock is held, and after_lock follows."""

    def __init__(self, process: Process) -> None:
        self._process = process
        # By name: when it was told of last, and how many there were since.
        self._told: dict[str, tuple[float, int]] = {}

    def failed(self, record: TaskRecord, why: str, left: int) -> None:
        """An attempt failed, and another is made. left: retries before this one, -1 without limit."""
        name = record.shown_name()
        now = time.monotonic()
        last, untold = self._told.get(name, (-EVERY_S, 0))
        if now - last < EVERY_S:
            self._told[name] = last, untold + 1
            return
        self._told.pop(name, None)
        if len(self._told) >= _NAMES:
            del self._told[next(iter(self._told))]
        self._told[name] = now, 0
        others = f" ({untold} more attempts of such tasks failed before.)" if untold else ""
        self._process.woken.append((partial(_write, name, "infinite" if left < 0 else str(left), why, others), b""))


def _write(name: str, left: str, why: str, others: str, _object_id: bytes) -> None:
    log.warning(
        "Task %s failed. There are %s retries remaining, so the task will be retried.%s Error: %s",
        *(name, left, others, why),
    )
