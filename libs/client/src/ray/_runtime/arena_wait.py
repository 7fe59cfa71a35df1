"""How long a call waits for an object manager that is away."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "MANTA_ARENA_WAIT_S"
DEFAULT_S: Final = 30.0


def arena_wait_s() -> float:
    """Seconds, from MANTA_ARENA_WAIT_S. raises: ValueError for anything but a number above 0."""
    text = os.environ.get(VARIABLE, str(DEFAULT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"{VARIABLE} is {text!r}; expected a number of seconds above 0")
    return seconds
