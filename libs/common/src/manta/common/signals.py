"""Signal handlers, set as the interpreter's own module does it."""

import importlib
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_signal: Final = importlib.import_module("_signal")

Handler = Callable[[int, FrameType | None], Any] | int | None


def set_handler(number: int, handler: Handler) -> None:
    """As signal.signal(), without the members of enumerations that it makes of both, in Python.

    A process that was just forked copies a dozen pages for each call of that.
    """
    _signal.signal(number, int(handler) if isinstance(handler, int) else handler)
