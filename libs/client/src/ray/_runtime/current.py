"""The process's runtime, if it is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._runtime.api import Runtime

_runtime: Runtime | None = None
_auto_init: Callable[[], object] | None = None
_forked = False
_leaving = False


def runtime() -> Runtime:
    """The connected runtime; connects with defaults first where ray.init() was not called, as upstream does.

    raises: RaySystemError in a process that user code forked from a connected one, and during ray.shutdown().
    """
    if _runtime is None:
        return _connect()
    return _runtime


def connected(what: str) -> Runtime:
    """The connected runtime, for questions about a cluster that make no sense to one just started.

    raises: RaySystemError when this process is not connected, and as runtime().
    """
    if _runtime is None and not (_forked or _leaving):
        from ray.exceptions import RaySystemError

        raise RaySystemError(f"Ray has not been started yet. The {what} was used before ray.init() was called.")
    return runtime()


def runtime_or_none() -> Runtime | None:
    return _runtime


def set_runtime(connected: Runtime | None) -> None:
    global _runtime, _forked
    _runtime = connected
    _forked = False


def set_forked() -> None:
    """This process was forked from a connected one: it has no runtime, and must not make one by accident."""
    global _runtime, _forked
    _runtime = None
    _forked = True


def set_leaving(leaving: bool) -> None:
    """While ray.shutdown() runs: who calls the API meanwhile must not connect anew, nor be waited for."""
    global _leaving
    _leaving = leaving


def set_auto_init(init: Callable[[], object]) -> None:
    """What .remote(), put and get call when nobody called ray.init() before them."""
    global _auto_init
    _auto_init = init


def _connect() -> Runtime:
    if _forked:
        from ray.exceptions import RaySystemError

        raise RaySystemError(
            "this process was forked (os.fork, multiprocessing) from one that uses ray, and cannot use it too; "
            "use tasks or actors instead, or multiprocessing with the 'spawn' method and ray.init(address='auto')"
        )
    if _leaving:
        from ray.exceptions import RaySystemError

        raise RaySystemError("ray.shutdown() is under way; call ray.init() once it has returned")
    assert _auto_init is not None, "the ray package sets this when it is imported"
    _auto_init()
    assert _runtime is not None
    return _runtime
