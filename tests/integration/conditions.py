"""Waiting for what no event tells: the state of foreign processes, files and reports that lag."""

import select
import time
from collections.abc import Callable

DEADLINE_S = 20.0
POLL_S = 0.02


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Check every 20 ms until it holds. raises: AssertionError naming what did not come true."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        select.select([], [], [], POLL_S)
