"""worker_process_setup_hook of a job's runtime env: what each of its workers runs before any task or actor.

It travels in the job's config, which every worker is given anyway: a function pickled, a name as it is.
"""

from __future__ import annotations

import base64
import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

# Of the pickled function: it goes into the request for each worker of the job.
LIMIT_BYTES: Final = 1 << 20


def load_by_name(path: str) -> Any:
    """What `package.module.name` names. raises: ValueError for a path without a dot; what importing raises."""
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(f"{path!r} is no path like package.module.name")
    return getattr(importlib.import_module(module), name)


def name_of(hook: Any) -> str:
    return hook if isinstance(hook, str) else str(getattr(hook, "__name__", None) or repr(hook))


def pack(hook: Any) -> dict[str, str]:
    """The form in which it travels. raises: TypeError for what is neither function nor name; RuntimeEnvSetupError."""
    from ray.exceptions import RuntimeEnvSetupError

    if isinstance(hook, str):
        return {"name": hook}
    if not callable(hook):
        raise TypeError(f"worker_process_setup_hook must be a function, got {type(hook)}.")
    from ray._runtime.specs.definitions import define

    try:
        pickled = define(hook, name_of(hook)).pickled
    except (TypeError, ValueError) as error:
        raise RuntimeEnvSetupError(f"Failed to export the setup function. {error}") from error
    if len(pickled) > LIMIT_BYTES:
        raise RuntimeEnvSetupError(
            f"Failed to export the setup function. {name_of(hook)} is {len(pickled)} bytes when pickled, over the "
            f"limit of {LIMIT_BYTES}: does it capture a large object?"
        )
    return {"name": name_of(hook), "pickled": base64.b64encode(pickled).decode()}


def call(packed: Mapping[str, str]) -> str:
    """Run it in this worker. returns: what went wrong, with the traceback; empty when nothing did."""
    name = packed["name"]
    hook: Callable[[], object]
    try:
        if "pickled" in packed:
            import cloudpickle

            hook = cloudpickle.loads(base64.b64decode(packed["pickled"]))
        else:
            hook = load_by_name(name)
    except Exception:
        return f"Failed to load the setup hook method. Function name:{name}\n{traceback.format_exc()}"
    try:
        hook()
    except Exception:
        return f"Failed to execute the setup hook method. Function name:{name}\n{traceback.format_exc()}"
    return ""
