"""Whether a worker can be forked from the zygote, or has to be spawned as a new interpreter."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Read once, when an interpreter, the dynamic loader, the allocator or a BLAS starts: too late after a fork.
READ_AT_START_PREFIXES: Final = ("PYTHON", "LD_", "MALLOC_", "MALLOCX_", "GLIBC_TUNABLES", "JE_", "MIMALLOC_")
READ_AT_START_SUFFIXES: Final = ("_NUM_THREADS",)


@dataclass(frozen=True, slots=True)
class Forked:
    """The zygote's own memory will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A new interpreter is needed."""

    interpreter: tuple[str, ...]  # argv up to "-m"; empty: the zygote's own interpreter
    reason: str


def start_kind(env: Mapping[str, str], inherited: Mapping[str, str], runtime_env: str) -> Forked | Spawned:
    """Decide by what the worker's variables change in comparison with those that the zygote was started with.

    env: the worker's variables; inherited: the environment when the zygote started; runtime_env: JSON or empty.
    raises: ValueError naming a runtime_env that cannot be read.
    """
    interpreter = interpreter_of(runtime_env)
    if interpreter:
        return Spawned(interpreter=interpreter, reason=f"py_executable {shlex.join(interpreter)}")
    changed = sorted(name for name, value in env.items() if is_read_at_start(name) and inherited.get(name) != value)
    if changed:
        return Spawned(interpreter=(), reason=f"variables read at process start: {', '.join(changed)}")
    return Forked()


def is_read_at_start(name: str) -> bool:
    """Whether a running process no longer looks at the variable."""
    return name.startswith(READ_AT_START_PREFIXES) or name.endswith(READ_AT_START_SUFFIXES)


def interpreter_of(runtime_env: str) -> tuple[str, ...]:
    """The command line of runtime_env's py_executable, or (). raises: ValueError naming what is wrong."""
    if not runtime_env:
        return ()
    try:
        fields = json.loads(runtime_env)
    except ValueError as error:
        raise ValueError(f"runtime_env is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"runtime_env must be a JSON object, not {type(fields).__name__}")
    command = fields.get("py_executable") or ""
    if not isinstance(command, str):
        raise ValueError(f"runtime_env py_executable must be text, not {command!r}")
    return tuple(shlex.split(command))
