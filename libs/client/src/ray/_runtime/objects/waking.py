"""Who waited for objects that are ready now, called one after the other without the process's lock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.objects.object_table import Waiter
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")


def wake(process: Process, woken: Sequence[tuple[Waiter, bytes]]) -> None:
    """Call all of them. What is no Exception, a callback's SystemExit say, ends this thread's part only."""
    rest = iter(woken)
    try:
        for waiter, object_id in rest:
            try:
                waiter(object_id)
            except Exception:
                # The others wait too, and for nobody else.
                log.exception("waiter_failed object=%s", object_id.hex())
    except BaseException:
        with process.lock:
            process.woken.extend(rest)
        process.reactor.call_soon(process.after_lock)
        raise
