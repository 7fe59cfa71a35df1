"""One request to the object manager, until it is answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("ray.runtime")


class Call:
    """A request that is not answered yet. callback: told instead of a waiting thread."""

    __slots__ = ("abandoned", "callback", "done", "object_id", "request_id", "result", "wake")

    def __init__(self, request_id: int, object_id: bytes, callback: Callable[[Any], None] | None = None) -> None:
        self.request_id = request_id
        self.object_id = object_id
        self.callback = callback
        self.result: Any = None  # or the exception to raise
        self.done = False
        self.abandoned = False
        self.wake = threading.Event() if callback is None else None

    def finish(self, result: Any) -> None:
        self.result = result
        self.done = True
        if self.wake is not None:
            self.wake.set()
        elif self.callback is not None:
            try:
                self.callback(result)
            except Exception:
                log.exception("arena_callback_failed object_id=%s", self.object_id.hex())
