"""Makes workers out of the zygote: by fork, or by fork and exec of a new interpreter."""

import gc
import os
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from manta_common.process import explain_lack, lacks_room
from manta_common.version import Version, check
from manta_proto.zygote.v1 import zygote_pb2

from ray._zygote import worker_process
from ray._zygote.fork_hooks import ForkHooks
from ray._zygote.start_kind import Forked, Spawned, start_kind

# Of jobs, thread counts, devices and environments that take turns; each that is kept costs some 50 kB.
_MOST_KINDS: Final = 16


class ForkRefused(Exception):
    """This worker cannot be started; the text is for the one who asked.

    lacks_room: for want of a process, a descriptor or memory, which others may give back.
    """

    def __init__(self, message: str, lacks_room: bool = False) -> None:
        super().__init__(message)
        self.lacks_room = lacks_room


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """What the workers have in common whose requests differ in nothing but ids; made once, in the zygote."""

    start: Forked | Spawned
    env: Mapping[str, str]
    threads: int
    sys_path: list[str]
    # What the worker module's prepare() made of it, if it has one.
    prepared: tuple[Any, ...]


class Forking:
    """Starts workers.

    inherited: the environment that the zygote was started with, before it set thread limits for itself.
    worker: the module whose run(fork) a worker enters. Where it has prepare(fork), that is called here, before the
    forks, with what is known of all workers of a kind; run() gets what it returned as a second argument.
    hooks: to be thinned when all is imported.
    """

    def __init__(self, inherited: Mapping[str, str], worker: str, hooks: ForkHooks) -> None:
        self._worker = worker
        self._module = sys.modules[worker]
        self._inherited = dict(inherited)
        self._own_variables = dict(os.environ)
        self._hooks = hooks
        self._controller: Any = None
        self._numbers = worker_process.RandomNumbers()
        self.forks = 0
        self._inheritance = worker_process.Inheritance()
        self._kinds: OrderedDict[bytes, WorkerKind] = OrderedDict()
        # What os.environ holds now, of a kind; None: something else.
        self._present: Mapping[str, str] | None = None
        self._steps = self._first_steps()
        sys.argv = [""]

    @property
    def loaded(self) -> bool:
        """Whether workers come with the large libraries."""
        return self._controller is not None

    def load(self, preload: Callable[[], Any]) -> None:
        """From now on they do. preload: imports them; returns the threadpoolctl.ThreadpoolController over them."""
        # Of the last worker's variables some would be read by a library as it is loaded.
        worker_process.set_variables(self._own_variables)
        self._present = None
        self._kinds.clear()
        self._controller = preload()
        self._numbers = worker_process.RandomNumbers()
        self._steps = self._first_steps()

    def start(self, request: zygote_pb2.Fork, stdout: int, stderr: int) -> int:
        """Make the worker and return its pid; the descriptors stay the caller's.

        raises: ForkRefused when there is more than one thread, no such interpreter, no process to be had, or when the
        request cannot be prepared for; VersionMismatch.
        cost: about 1 ms for a fork, 25 ms of the child's own time for a spawn.
        """
        kind = self._kind(request)
        assert_one_thread()
        if isinstance(kind.start, Spawned):
            try:
                return self._spawn(request, kind.env, kind.start, stdout, stderr)
            except OSError as error:
                raise ForkRefused(
                    f"a new interpreter cannot be started: {explain_lack(error)}", lacks_room(error)
                ) from error
        self._set_variables(kind.env)
        self.forks += 1
        self._numbers.draw()
        pid = self._fork()
        if pid == 0:
            self._be_worker(request, kind, stdout, stderr)
        return pid

    def _first_steps(self) -> tuple[worker_process.Step, ...]:
        # The zygote's own, as of all that is forked from it.
        worker_process.forget_exit_functions()
        return (*self._inheritance.dropping(), *self._hooks.leave_out())

    def _kind(self, request: zygote_pb2.Fork) -> WorkerKind:
        """raises: ForkRefused, VersionMismatch."""
        request_id, worker_id = request.request_id, request.worker_id
        request.request_id, request.worker_id = 0, b""
        key = request.SerializeToString(deterministic=True)
        request.request_id, request.worker_id = request_id, worker_id
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._new_kind(request)
            more = len(self._kinds) > _MOST_KINDS
            if more:
                self._kinds.popitem(last=False)
            # Grown old, it is not looked at by the collections of young objects that children run; frozen, it would
            # stay. The one that goes lies in cycles, and a zygote makes too little for collections of its own.
            gc.collect(2 if more else 1)
        elif kind.env is not self._present:  # the one used before is the last already
            self._kinds.move_to_end(key)
        return kind

    def _new_kind(self, request: zygote_pb2.Fork) -> WorkerKind:
        check(Version(request.version_major, request.version_minor), peer="the raylet")
        try:
            start = start_kind(request.env, self._inherited, request.runtime_env)
        except ValueError as error:
            raise ForkRefused(str(error)) from error
        env = worker_process.environment(request, self._inherited)
        threads = worker_process.thread_count(env, request)
        prepared = () if isinstance(start, Spawned) else self._prepared(request, env)
        return WorkerKind(start, env, threads, worker_process.import_path(request), prepared)

    def _prepared(self, request: zygote_pb2.Fork, env: Mapping[str, str]) -> tuple[Any, ...]:
        prepare = getattr(self._module, "prepare", None)
        if prepare is None:
            return ()
        # It may read them, and those of the kind before are another job's.
        self._set_variables(env)
        try:
            return (prepare(request),)
        except Exception as error:
            # Of whatever class: this request is at fault, and others must get their workers.
            raise ForkRefused(f"{self._worker} cannot prepare for this worker: {error!r}") from error
        finally:
            self._hooks.keep_new_ones()

    def _set_variables(self, env: Mapping[str, str]) -> None:
        if env is self._present:
            return
        self._present = None  # until all are set
        try:
            worker_process.set_variables(env)
        except (OSError, ValueError) as error:
            raise ForkRefused(f"the variables of this worker cannot be set: {error}") from error
        self._present = env

    def _fork(self) -> int:
        try:
            return os.fork()
        except OSError as error:
            raise ForkRefused(f"fork failed: {explain_lack(error)}", lacks_room(error)) from error

    def _be_worker(self, request: zygote_pb2.Fork, kind: WorkerKind, stdout: int, stderr: int) -> NoReturn:
        # Whatever goes wrong, the child must not come back into the zygote's loop and answer in its name. Nor does it
        # end but by os._exit: what the zygote's frames hold is not finalized, and closes no descriptor of the child's.
        try:
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            for call, arguments in self._steps:
                call(*arguments)
            if request.niceness:
                os.nice(request.niceness)
            worker_process.enter_folder(request.working_directory)
            sys.path[:] = kind.sys_path
            if kind.threads != 1 and self._controller is not None:  # the zygote runs with one
                # Without a context, the limit holds for the life of the process. Libraries that are loaded later, such
                # as pyarrow, read the variables.
                self._controller.limit(limits=kind.threads)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(worker_process.EXIT_SETUP_FAILED)
        worker_process.run(request, self._worker, *kind.prepared)

    def _spawn(self, request: zygote_pb2.Fork, env: Mapping[str, str], kind: Spawned, stdout: int, stderr: int) -> int:
        command = kind.interpreter or (sys.executable,)
        program = shutil.which(command[0], path=env.get("PATH"))
        if program is None:
            raise ForkRefused(f"no interpreter {command[0]!r} on this node, wanted because of {kind.reason}")
        # Closed by a successful exec; otherwise it carries the reason.
        failure_reader, failure_writer = os.pipe2(os.O_CLOEXEC)
        message = -1
        try:
            message = os.memfd_create("manta-fork", os.MFD_CLOEXEC)
            os.write(message, request.SerializeToString())
            os.lseek(message, 0, os.SEEK_SET)
            pid = self._fork()
            if pid == 0:
                if request.niceness:
                    os.nice(request.niceness)
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
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            for call, arguments in self._inheritance.dropping(kept=(message, failure)):
                call(*arguments)
            os.set_inheritable(message, True)
            argv = [*command, "-m", "ray._zygote.spawned", "--fd", str(message), "--worker", self._worker]
            os.execve(program, argv, dict(env))
        except BaseException as error:
            os.write(failure, str(error).encode()[:4000])
        finally:
            os._exit(127)


def assert_one_thread() -> None:
    """raises: ForkRefused naming the threads; a lock that another thread holds would stay locked in the child."""
    # A folder's link count is two and one for each folder in it.
    if os.stat("/proc/self/task").st_nlink == 3:
        return
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
