"""How long a call waits for an object manager that is away."""

from __future__ import annotations

from typing import Final

from ray._runtime.loop.wait_variable import seconds_of

VARIABLE: Final = "MANTA_ARENA_WAIT_S"
DEFAULT_S: Final = 30.0


def arena_wait_s() -> float:
    """Seconds, from MANTA_ARENA_WAIT_S. raises: ValueError for anything but a number above 0."""
    return seconds_of(VARIABLE, DEFAULT_S)
