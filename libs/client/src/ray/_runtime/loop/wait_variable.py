"""Times that calls wait for a service that is away, from environment variables."""

from __future__ import annotations

import os


def seconds_of(variable: str, default_s: float) -> float:
    """Seconds. raises: ValueError for anything but a number above 0."""
    text = os.environ.get(variable, str(default_s))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"{variable} is {text!r}; expected a number of seconds above 0")
    return seconds
