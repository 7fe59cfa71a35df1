"""Python's garbage collector, held back while a large value is made out of its pickle, or many refs in a row.

All that is made then is reachable, so every collection in the middle of it is in vain, and each looks at more.
"""

from __future__ import annotations

import gc
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Final

# A pickle so long makes some thousands of objects, and the collector would begin its first rounds.
LARGE_PICKLE_BYTES: Final = 1 << 16
# As many results or refs, made in a row, do the same.
_MANY_OBJECTS: Final = 256

# Reentrant: a destructor that runs while it is held may read a value.
_guard = threading.RLock()
_holders = 0


class held_back:
    """No automatic collection on any thread until the last of those who are inside has left.

    A program that has turned the collector off before finds it off afterwards. Not a generator: contextlib sets an
    attribute of the error that passes, which may be of a class that refuses.
    """

    __slots__ = ("_holding",)

    def __enter__(self) -> None:
        global _holders
        with _guard:
            self._holding = _holders > 0 or gc.isenabled()
            if self._holding:
                _holders += 1
                gc.disable()

    def __exit__(self, *_error: object) -> None:
        global _holders
        if self._holding:
            with _guard:
                _holders -= 1
                if _holders == 0:
                    gc.enable()


def held_back_for(count: int) -> AbstractContextManager[None]:
    """held_back() around the making of so many results or refs, if they are many."""
    return held_back() if count >= _MANY_OBJECTS else nullcontext()
