"""Signal handlers, set as the interpreter's own module does it.

signal.signal() makes members of enumerations of what it takes and gives, in Python; a process that was just forked
copies a dozen pages for each call of that.
"""

import importlib
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_signal: Final = importlib.import_module("_signal")

# What set_handler calls, with handler_arguments(): for a child to call without anything between.
SETTER: Final[Callable[..., Any]] = _signal.signal
Handler = Callable[[int, FrameType | None], Any] | int | None


def set_handler(number: int, handler: Handler) -> None:
    """As signal.signal(), with numbers only."""
    SETTER(*handler_arguments(number, handler))


def handler_arguments(number: int, handler: Handler) -> tuple[int, Any]:
    return int(number), int(handler) if isinstance(handler, int) else handler
