"""What makes a process a worker before any user code: done by its zygote ahead, or by itself, forked or spawned."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import importlib
import logging
import os
import random
import re
import signal
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final, NoReturn

from manta_common.signals import SETTER, handler_arguments
from manta_proto.zygote.v1 import zygote_pb2

# Something to call in a child, and its arguments, bound in the zygote: each name that is looked up, each function of
# Python's that is called, has the child copy two or three pages.
Step = tuple[Callable[..., Any], tuple[Any, ...]]
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
EXIT_SETUP_FAILED: Final = 1
_MT19937_WORDS: Final = 624
_MT19937_BYTES: Final = _MT19937_WORDS * 4
_USED_UP: Final = _MT19937_WORDS.to_bytes(4, sys.byteorder)
_REFERENCE: Final = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
DEFAULT_WORKER: Final = "ray._runtime.process.worker_main"


class Inheritance:
    """What a child has to put right of its zygote's signals and descriptors, found out once, in the zygote."""

    def __init__(self) -> None:
        # The handler of SIGCHLD is the zygote's own, see children.py.
        handlers: list[tuple[int, Any]] = [(signal.SIGCHLD, signal.SIG_DFL)]
        wanted = ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL))
        for number, handler in (*wanted, (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) != handler:
                handlers.append((number, handler))
        self._signals: list[Step] = [(signal.set_wakeup_fd, (-1,))]
        self._signals += [(SETTER, handler_arguments(*handler)) for handler in handlers]
        if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            self._signals.append((signal.pthread_sigmask, (signal.SIG_SETMASK, ())))
        self._end = os.sysconf("SC_OPEN_MAX")

    def dropping(self, kept: Sequence[int] = ()) -> list[Step]:
        """Leave the parent's session and signal handling, and keep only the three standard descriptors and `kept`.

        Standard input stays the zygote's, which is empty; output and error are in their places already. The Python
        objects whose descriptors this closes are never to be finalized.
        """
        steps: list[Step] = [(os.setsid, ()), *self._signals]
        start = 3
        for descriptor in (*sorted(kept), self._end):
            steps.append((os.closerange, (start, descriptor)))
            start = descriptor + 1
        return steps


class RandomNumbers:
    """The state of the global generators of `random` and numpy, for each child another.

    Drawn by the zygote before each fork: it has less to copy for that than its child had. numpy's state is written
    where it lies; its own functions for that copy 60 pages for 2.5 kB of random numbers.
    """

    def __init__(self) -> None:
        """raises: RuntimeError when numpy is loaded and keeps its state in another way than is known here."""
        generator: random.Random = random.seed.__self__  # type: ignore[attr-defined]
        # Without what its method does in Python, which is to forget a number that nobody has left over here.
        self._seed = super(random.Random, generator).seed
        self._words: memoryview | None = None
        if "numpy.random" in sys.modules:
            self._words = _words_of(sys.modules["numpy.random"].get_bit_generator())

    def draw(self) -> None:
        self._seed()
        if self._words is not None:
            # All used up, so that the next number comes from the next state.
            self._words[:] = os.urandom(_MT19937_BYTES) + _USED_UP


def _words_of(generator: Any) -> memoryview:
    # The generator's struct: the words, then how many of them are used up.
    state = (ctypes.c_uint32 * (_MT19937_WORDS + 1)).from_address(generator.ctypes.state_address)
    found = generator.state["state"]
    if [*found["key"], found["pos"]] != list(state):
        raise RuntimeError("numpy keeps the state of its MT19937 in a way that this version of manta does not know")
    return memoryview(state).cast("B")


def open_standard_streams() -> None:
    """Python's streams on descriptors 0 to 2: UTF-8, by lines, and never failing on a character; the input empty.

    They hold nothing else, so the zygote makes them once, and its children write by them to descriptors of their own.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    if null:
        os.dup2(null, 0)
        os.close(null)
    else:  # it was closed
        os.set_inheritable(0, True)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: IO[str] = open(  # noqa: SIM115
            descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc] # noqa: SIM115


def show_crashes() -> None:
    """Have the stack of the thread that dies by a signal (a segfault, an abort) written to descriptor 2.

    Set once, in the zygote: its children write to descriptors of their own.
    """
    faulthandler.enable(file=2, all_threads=False)


def forget_exit_functions() -> None:
    """Those that were registered so far are none of a worker's; what its user code registers runs when it ends."""
    atexit._clear()
    # Two modules register once in a process, for all that user code will leave to them.
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)


def environment(fork: zygote_pb2.Fork, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the worker: those of the node, then the worker's own, then thread counts nobody has set.

    The worker's own may name others, as ${NAME} or $NAME: those that are set by then; they come by their names' order.
    """
    env = dict(inherited)
    for name, value in sorted(fork.env.items()):
        env[name] = _expanded(value, env) if "$" in value else value
    threads = str(max(1, fork.num_threads))
    # MKL and OpenBLAS follow OMP_NUM_THREADS unless told otherwise; what the user set for one, he set for all.
    chosen = env.get("OMP_NUM_THREADS", threads)
    for name in THREAD_VARIABLES:
        env.setdefault(name, chosen)
    return env


def _expanded(value: str, env: Mapping[str, str]) -> str:
    """As os.path.expandvars: what is not set stays as it is written."""
    return _REFERENCE.sub(lambda found: env.get(found[1] or found[2], found[0]), value)


def set_variables(wanted: Mapping[str, str]) -> None:
    """Make them this process's environment; only those that differ are written.

    raises: ValueError or OSError for a name or value that no environment holds; some are set then.
    """
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def thread_count(env: Mapping[str, str], fork: zygote_pb2.Fork) -> int:
    """Threads for BLAS and OpenMP: the user's OMP_NUM_THREADS (of a list the first), else the lease's."""
    first = env.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else max(1, fork.num_threads)


def import_path(fork: zygote_pb2.Fork) -> list[str]:
    """Of the worker: its job's, then what its interpreter has besides."""
    first = list(fork.sys_path)
    known = set(first)
    return first + [path for path in sys.path if path not in known]


def enter_folder(folder: str) -> None:
    """Go where the job's driver was, if that is anywhere."""
    if not folder:
        return
    try:
        os.chdir(folder)
    except OSError as error:
        # Not fatal: a driver's folder need not exist on every node.
        print(
            f"manta: cannot enter the driver's folder {folder!r} ({error.strerror}); staying in {os.getcwd()}",
            file=sys.stderr,
        )


def run(fork: zygote_pb2.Fork, worker: str = DEFAULT_WORKER, *prepared: Any) -> NoReturn:
    """Hand over to the runtime and end the process with its outcome; never returns into the parent's code.

    prepared: what the worker module's prepare() gave, if it has one.
    """
    status = EXIT_SETUP_FAILED
    try:
        (sys.modules.get(worker) or importlib.import_module(worker)).run(fork, *prepared)
    except SystemExit as end:
        status = _status_of(end)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _status_of(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The raylet has closed its end, or user code the stream: there is nobody left to tell.
            continue
