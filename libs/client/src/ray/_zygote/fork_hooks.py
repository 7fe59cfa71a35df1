"""Python's hooks around a fork, of which a zygote's forks need few.

os.fork runs what modules have registered. For threading, logging and concurrent.futures that is to forget other threads
and to renew locks that those may have held. A zygote has one thread, so there are none; but a child that runs the hooks
copies a sixth of all the pages that it copies before it can work, and its zygote some after each fork. They are left
out, and a child has them again for the forks of user code. Hooks of other modules run as ever.
"""

from __future__ import annotations

import concurrent.futures.thread as pool
import gc
import logging
import os
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ray._zygote.worker_process import Step

Hooks = list[Callable[[], Any]]
# Of each module: what it registered to run before a fork, in the parent, in the child. Python 3.13 has other names for
# logging's.
_NEEDLESS: Final = (
    ((), (), ("threading._after_fork",)),
    (("logging._acquireLock",), ("logging._releaseLock",), ("logging._after_at_fork_child_reinit_locks",)),
    (("logging._prepareFork",), ("logging._afterFork",), ("logging._after_at_fork_child_reinit_locks",)),
    (
        ("pool._global_shutdown_lock.acquire",),
        ("pool._global_shutdown_lock.release",),
        ("pool._global_shutdown_lock._at_fork_reinit",),
    ),
    # Drawn before the fork: see RandomNumbers.
    ((), (), ("random._inst.seed",)),
)
_MODULES: Final = {"threading": threading, "logging": logging, "pool": pool, "random": random}


class ForkHooks:
    """To be made before gc.freeze(), which hides the interpreter's lists. One in a process."""

    def __init__(self) -> None:
        self._lists = _interpreters_lists()
        self._all: list[tuple[Hooks, Hooks]] = []

    def leave_out(self) -> list[Step]:
        """Have the next forks do without those that a process of one thread does not need.

        Again after imports, which may have registered more. Where the interpreter keeps its hooks in another way than
        CPython 3.11 to 3.13, they all run.
        returns: how a child gets them all back, and the right native_id of its main thread.
        """
        if self._lists is None:
            return []
        self.keep_new_ones()
        for hooks, everything in self._all:
            hooks[:] = everything
        self._all = [(hooks, list(hooks)) for hooks in self._lists]
        for group in _NEEDLESS:
            found = [[_found(name) for name in names] for names in group]
            if all(hook in hooks for wanted, hooks in zip(found, self._lists, strict=True) for hook in wanted):
                for wanted, hooks in zip(found, self._lists, strict=True):
                    for hook in wanted:
                        hooks.remove(hook)

        # The one thing that a fork makes wrong of this thread's object; threading's own hook leaves it so.
        number: Step = (_set_native_id, (threading.main_thread(),))
        return [number, *((hooks.__setitem__, (slice(None), everything)) for hooks, everything in self._all)]

    def keep_new_ones(self) -> None:
        """Of hooks that were registered since: the steps that leave_out() gave leave them to children, too."""
        for hooks, everything in self._all:
            everything += [hook for hook in hooks if hook not in everything]


def _set_native_id(thread: threading.Thread) -> None:
    thread._native_id = os.getpid()  # type: ignore[attr-defined]


def _interpreters_lists() -> tuple[Hooks, Hooks, Hooks] | None:
    """The lists that os.register_at_fork appends to: before, in the parent, in the child."""

    def before() -> None: ...

    def in_parent() -> None: ...

    def in_child() -> None: ...

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
    lists = []
    for marker in (before, in_parent, in_child):
        holders = [holder for holder in gc.get_referrers(marker) if type(holder) is list and marker in holder]
        if len(holders) != 1:
            return None
        holders[0].remove(marker)
        lists += holders
    return lists[0], lists[1], lists[2]


def _found(name: str) -> Any:
    module, *path = name.split(".")
    found: Any = _MODULES[module]
    for part in path:
        found = getattr(found, part, None)
    return found
