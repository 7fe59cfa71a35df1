"""Makes workers out of the zygote: by fork, or by fork and exec of a new interpreter."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from manta.proto.zygote.v1 import zygote_pb2

from ray._zygote import worker_process
from ray._zygote.start_kind import Spawned, start_kind


class ForkRefused(Exception):
    """This worker cannot be started; the text is for the one who asked."""


class Forking:
    """Starts workers.

    inherited: the environment that the zygote was started with, before it set thread limits for itself.
    detach: called in a child before it closes what it inherited; it detaches Python's objects from the descriptors.
    worker: the module whose run(fork) a worker enters.
    """

    def __init__(self, inherited: Mapping[str, str], detach: Callable[[], None], worker: str) -> None:
        self._worker = worker
        self._inherited = dict(inherited)
        self._controller: Any = None
        self._numpy_seed: worker_process.NumpySeed | None = None
        self.forks = 0
        self._detach = detach
        self._signals = worker_process.Signals.of_this_process()
        # Of the last request, for most are followed by others of the same job.
        self._last_request: tuple[dict[str, str], int] | None = None
        self._last_variables: tuple[dict[str, str], worker_process.Variables] = ({}, worker_process.Variables())

    @property
    def loaded(self) -> bool:
        """Whether workers come with the large libraries."""
        return self._controller is not None

    def load(self, controller: Any) -> None:
        """From now on they do. controller: the threadpoolctl.ThreadpoolController over those libraries."""
        self._controller = controller
        self._numpy_seed = worker_process.NumpySeed()

    def start(self, request: zygote_pb2.Fork, stdout: int, stderr: int) -> int:
        """Make the worker and return its pid; the descriptors stay the caller's.

        raises: ForkRefused when there is more than one thread, no such interpreter, or no process to be had.
        cost: about 1 ms for a fork, 25 ms of the child's own time for a spawn.
        """
        try:
            kind = start_kind(request.env, self._inherited, request.runtime_env)
        except ValueError as error:
            raise ForkRefused(str(error)) from error
        assert_one_thread()
        env, variables = self._variables(request)
        if isinstance(kind, Spawned):
            return self._spawn(request, env, kind, stdout, stderr)
        self.forks += 1
        pid = self._fork()
        if pid == 0:
            self._be_worker(request, env, variables, stdout, stderr)
        return pid

    def _variables(self, request: zygote_pb2.Fork) -> tuple[dict[str, str], worker_process.Variables]:
        asked = (dict(request.env), request.num_threads)
        if asked != self._last_request:
            env = worker_process.environment(request, self._inherited)
            self._last_variables = (env, worker_process.Variables.between(os.environ, env))
            self._last_request = asked
        return self._last_variables

    def _fork(self) -> int:
        try:
            return os.fork()
        except OSError as error:
            raise ForkRefused(f"fork failed: {error.strerror}") from error

    def _be_worker(
        self,
        request: zygote_pb2.Fork,
        env: Mapping[str, str],
        variables: worker_process.Variables,
        stdout: int,
        stderr: int,
    ) -> NoReturn:
        # Whatever goes wrong, the child must not come back into the zygote's loop and answer in its name.
        try:
            self._detach()
            worker_process.drop_inherited(stdout, stderr, self._signals)
            worker_process.enter(request, variables)
            # `random` seeds itself anew in a forked child, and numpy in a process that imports it.
            if self._numpy_seed is not None:
                self._numpy_seed.draw()
                worker_process.limit_threads(worker_process.thread_count(env, request), self._controller)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(worker_process.EXIT_SETUP_FAILED)
        worker_process.run(request, self._worker)

    def _spawn(self, request: zygote_pb2.Fork, env: Mapping[str, str], kind: Spawned, stdout: int, stderr: int) -> int:
        command = kind.interpreter or (sys.executable,)
        program = shutil.which(command[0], path=env.get("PATH"))
        if program is None:
            raise ForkRefused(f"no interpreter {command[0]!r} on this node, wanted because of {kind.reason}")
        # Closed by a successful exec; otherwise it carries the reason.
        failure_reader, failure_writer = os.pipe2(os.O_CLOEXEC)
        message = os.memfd_create("manta-fork", os.MFD_CLOEXEC)
        try:
            os.write(message, request.SerializeToString())
            os.lseek(message, 0, os.SEEK_SET)
            pid = self._fork()
            if pid == 0:
                self._exec(program, command, env, message, stdout, stderr, failure_writer)
            os.close(failure_writer)
            failure_writer = -1
            reason = os.read(failure_reader, 4096)
        finally:
            for descriptor in (failure_reader, failure_writer, message):
                if descriptor >= 0:
                    os.close(descriptor)
        if reason:
            os.waitpid(pid, 0)
            raise ForkRefused(f"cannot start {program}: {reason.decode(errors='replace')}")
        return pid

    def _exec(
        self,
        program: str,
        command: tuple[str, ...],
        env: Mapping[str, str],
        message: int,
        stdout: int,
        stderr: int,
        failure: int,
    ) -> NoReturn:
        try:
            self._detach()
            worker_process.drop_inherited(stdout, stderr, self._signals, kept=(message, failure))
            os.set_inheritable(message, True)
            argv = [*command, "-m", "ray._zygote.spawned", "--fd", str(message), "--worker", self._worker]
            os.execve(program, argv, dict(env))
        except BaseException as error:
            os.write(failure, str(error).encode()[:4000])
        finally:
            os._exit(127)


def assert_one_thread() -> None:
    """raises: ForkRefused naming the threads; a lock that another thread holds would stay locked in the child."""
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        names = []
        for thread in threads:
            try:
                with open(f"/proc/self/task/{thread}/comm") as file:
                    names.append(file.read().strip())
            except FileNotFoundError:  # it ended meanwhile
                continue
        raise ForkRefused(f"the zygote has {len(threads)} threads ({', '.join(sorted(names))}) and must not fork")
