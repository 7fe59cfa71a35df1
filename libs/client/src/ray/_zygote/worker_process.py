"""What a new worker process does to itself before any user code, forked or spawned."""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, NoReturn

from manta.common.signals import set_handler
from manta.proto.zygote.v1 import zygote_pb2

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
EXIT_SETUP_FAILED: Final = 1
_MT19937_WORDS: Final = 624
_MT19937_BYTES: Final = _MT19937_WORDS * 4
DEFAULT_WORKER: Final = "ray._runtime.worker_main"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a child has to put right of its zygote's signal handling.

    Found out once, in the zygote: what a child calls, it copies pages of the zygote's for.
    """

    handlers: tuple[tuple[int, Any], ...]
    blocked: bool

    @staticmethod
    def of_this_process() -> Signals:
        wanted = ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL))
        # The handler of SIGCHLD is the zygote's own, see children.py.
        handlers: list[tuple[int, Any]] = [(signal.SIGCHLD, signal.SIG_DFL)]
        for number, handler in (*wanted, (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) != handler:
                handlers.append((number, handler))
        return Signals(tuple(handlers), bool(signal.pthread_sigmask(signal.SIG_BLOCK, ())))

    def restore(self) -> None:
        for number, handler in self.handlers:
            set_handler(number, handler)
        if self.blocked:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())


@dataclass(frozen=True, slots=True)
class Variables:
    """How the environment of a worker differs from its zygote's."""

    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def between(present: Mapping[str, str], wanted: Mapping[str, str]) -> Variables:
        changed = tuple((name, value) for name, value in wanted.items() if present.get(name) != value)
        return Variables(tuple(present.keys() - wanted.keys()), changed)

    def set(self) -> None:
        for name in self.removed:
            del os.environ[name]
        for name, value in self.changed:
            os.environ[name] = value


class NumpySeed:
    """The state of numpy's global generator, written where it lies.

    Its own functions for that have a child copy 60 pages of the zygote's for 2.5 kB of random numbers.
    """

    def __init__(self) -> None:
        numpy_random = importlib.import_module("numpy.random")
        generator = numpy_random.get_bit_generator()
        # The generator's struct: the words, then how many of them are used up.
        self._state = (ctypes.c_uint32 * (_MT19937_WORDS + 1)).from_address(generator.ctypes.state_address)
        self._generator = generator
        state = generator.state["state"]
        if [*state["key"], state["pos"]] != list(self._state):
            raise RuntimeError("numpy keeps the state of its MT19937 in a way that this version of manta does not know")
        self._view = memoryview(self._state).cast("B")

    def draw(self) -> None:
        """All words anew, and all used up, so that the next number comes from the next state."""
        self._view[:_MT19937_BYTES] = os.urandom(_MT19937_BYTES)
        self._state[_MT19937_WORDS] = _MT19937_WORDS


def drop_inherited(stdout: int, stderr: int, signals: Signals, kept: Sequence[int] = ()) -> None:
    """Leave the parent's session and signal handling, and keep only the two descriptors, as 1 and 2, and `kept`.

    Standard input is empty. The caller has detached every Python object whose descriptor this closes.
    """
    os.setsid()
    signals.restore()
    # First above the three standard ones: a pipe may itself have been received as one of them.
    high_out, high_err = _above_standard(stdout), _above_standard(stderr)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(high_out, 1)
    os.dup2(high_err, 2)
    start = 3
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(start, descriptor)
        start = descriptor + 1


def _above_standard(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def open_standard_streams() -> None:
    """Python's streams on descriptors 0 to 2: UTF-8, by lines, and never failing on a character.

    They hold nothing else, so the zygote makes them once, and its children write by them to descriptors of their own.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: IO[str] = open(  # noqa: SIM115
            descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc] # noqa: SIM115


def environment(fork: zygote_pb2.Fork, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the worker: those of the node, then the worker's own, then thread counts nobody has set."""
    env = dict(inherited)
    env.update(fork.env)
    threads = str(max(1, fork.num_threads))
    # MKL and OpenBLAS follow OMP_NUM_THREADS unless told otherwise; what the user set for one, he set for all.
    chosen = env.get("OMP_NUM_THREADS", threads)
    for name in THREAD_VARIABLES:
        env.setdefault(name, chosen)
    return env


def thread_count(env: Mapping[str, str], fork: zygote_pb2.Fork) -> int:
    """Threads for BLAS and OpenMP: the user's OMP_NUM_THREADS (of a list the first), else the lease's."""
    first = env.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else max(1, fork.num_threads)


def enter(fork: zygote_pb2.Fork, variables: Variables) -> None:
    """Take over variables, folder and import path of the worker's job."""
    variables.set()
    if fork.working_directory:
        try:
            os.chdir(fork.working_directory)
        except OSError as error:
            # Not fatal: a driver's folder need not exist on every node.
            print(
                f"manta: cannot enter the driver's folder {fork.working_directory!r} ({error.strerror}); "
                f"staying in {os.getcwd()}",
                file=sys.stderr,
            )
    if fork.sys_path:
        own = [path for path in sys.path if path not in set(fork.sys_path)]
        sys.path[:] = [*fork.sys_path, *own]
    sys.argv = [""]


def limit_threads(count: int, controller: Any) -> None:
    """Tell the libraries that are loaded already; the variables alone do nothing after their import.

    controller: a threadpoolctl.ThreadpoolController that knows them.
    """
    if count == 1:
        # The zygote runs with one; pyarrow reads the variable when it first needs its pool.
        return
    # Without a context, the limit holds for the life of the process.
    controller.limit(limits=count)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        pyarrow.set_cpu_count(count)


def run(fork: zygote_pb2.Fork, worker: str = DEFAULT_WORKER) -> NoReturn:
    """Hand over to the runtime and end the process with its outcome; never returns into the parent's code."""
    status = EXIT_SETUP_FAILED
    try:
        (sys.modules.get(worker) or importlib.import_module(worker)).run(fork)
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
