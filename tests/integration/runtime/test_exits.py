"""How actors and workers end on purpose: exit_actor, sys.exit, atexit, max_calls."""

import asyncio
import atexit
import gc
import logging
import logging.handlers
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")


class Leaver:
    def leave(self) -> None:
        ray.actor.exit_actor()

    def leave_among_exceptions(self) -> str:
        try:
            ray.actor.exit_actor()
        except Exception:
            return "stayed"
        return "stayed"

    def sys_exit(self, status: int) -> None:
        sys.exit(status)

    def stay(self, seconds: float) -> str:
        time.sleep(seconds)
        return "stayed"

    def stay_until(self, path: str) -> str:
        wait_for(lambda: os.path.exists(path), "it may go on", 60)
        return "stayed"

    def at_exit(self, path: str) -> None:
        atexit.register(lambda: Path(path).write_text("left"))

    def leave_to_finalizers(self, folder: str) -> None:
        # Neither is told by anything else that the process ends.
        handler = logging.handlers.MemoryHandler(100, target=logging.FileHandler(f"{folder}/log", delay=True))
        handler.emit(logging.makeLogRecord({"msg": "the last line", "levelno": logging.INFO}))
        self.finalizer = weakref.finalize(self, Path(folder, "finalized").touch)
        self.handler = handler

    def threads(self) -> int:
        # SystemExit in a thread of the user's ends that thread alone.
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()
        return 1

    def pid(self) -> int:
        return os.getpid()


class AsyncLeaver:
    async def leave(self) -> None:
        ray.actor.exit_actor()

    async def sys_exit(self, status: int) -> None:
        sys.exit(status)

    async def stay(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "stayed"

    async def stay_until(self, path: str) -> str:
        await asyncio.to_thread(wait_for, lambda: os.path.exists(path), "it may go on", 60)
        return "stayed"

    async def leave_later(self) -> str:
        async def leave() -> None:
            sys.exit(0)

        self.task = asyncio.create_task(leave())
        return "called"

    async def pid(self) -> int:
        return os.getpid()


def an_actor(kind: str, **options: Any) -> Any:
    cls, extra = {"plain": (Leaver, {}), "threaded": (Leaver, {"max_concurrency": 3}), "async": (AsyncLeaver, {})}[kind]
    return ray.remote(num_cpus=0, **extra, **options)(cls).remote()


KINDS = ["plain", "threaded", "async"]


@pytest.mark.parametrize("kind", KINDS)
def test_exit_actor_ends_it_for_good(kind: str) -> None:
    actor = an_actor(kind, max_restarts=-1, max_task_retries=-1)
    with pytest.raises(ActorDiedError, match="exit_actor"):
        ray.get(actor.leave.remote(), timeout=20)
    with pytest.raises(ActorDiedError):
        ray.get(actor.stay.remote(0), timeout=20)


@pytest.mark.parametrize("kind", KINDS)
def test_sys_exit_without_error_ends_it_for_good(kind: str) -> None:
    actor = an_actor(kind, max_restarts=-1)
    with pytest.raises(ActorDiedError, match=r"sys\.exit\(0\)"):
        ray.get(actor.sys_exit.remote(0), timeout=20)


@pytest.mark.parametrize("kind", KINDS)
def test_sys_exit_with_an_error_is_a_death_like_others(kind: str) -> None:
    actor = an_actor(kind, max_restarts=1)
    first = ray.get(actor.pid.remote(), timeout=20)
    with pytest.raises(ActorUnavailableError):
        ray.get(actor.sys_exit.remote(3), timeout=20)
    wait_for(lambda: answers(actor), "it restarted")
    assert ray.get(actor.pid.remote(), timeout=20) != first
    with pytest.raises(ActorDiedError, match="exit code 3"):
        ray.get(actor.sys_exit.remote(3), timeout=20)


def answers(actor: Any) -> bool:
    try:
        return bool(ray.get(actor.pid.remote(), timeout=20))
    except ActorUnavailableError:
        return False


def test_exit_actor_passes_by_those_who_catch_all_exceptions() -> None:
    actor = an_actor("plain")
    with pytest.raises(ActorDiedError):
        ray.get(actor.leave_among_exceptions.remote(), timeout=20)


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_calls_that_run_when_their_actor_leaves_come_to_their_end(kind: str) -> None:
    actor = an_actor(kind)
    assert ray.get(actor.pid.remote(), timeout=20)
    running, leaving = actor.stay.remote(0.3), actor.leave.remote()
    with pytest.raises(ActorDiedError):
        ray.get(leaving, timeout=20)
    assert ray.get(running, timeout=20) == "stayed"


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_an_actor_that_leaves_while_a_call_runs_says_so_at_once_and_takes_no_more(kind: str, tmp_path: Path) -> None:
    actor = an_actor(kind)
    path = tmp_path / "go on"
    running = actor.stay_until.remote(str(path))
    assert ray.get(actor.pid.remote(), timeout=20)
    # While the call runs, which none of these waits for: it has thirty seconds, and each of them ten at the most.
    for name in ("leave", "pid"):
        with pytest.raises(ActorDiedError, match=r"exit_actor"):
            ray.get(getattr(actor, name).remote(), timeout=10)
    path.touch()
    assert ray.get(running, timeout=20) == "stayed"


def test_calls_that_wait_in_line_when_their_actor_leaves_fail_at_once(tmp_path: Path) -> None:
    actor = ray.remote(AsyncLeaver).options(num_cpus=0, max_concurrency=2).remote()
    path = tmp_path / "go on"
    running = actor.stay_until.remote(str(path))
    refs = [actor.leave.remote(), *(actor.stay.remote(0) for _ in range(3000))]
    for ref in refs:
        with pytest.raises(ActorDiedError, match="exit_actor"):
            ray.get(ref, timeout=20)
    path.touch()
    assert ray.get(running, timeout=20) == "stayed"


def test_calls_behind_the_one_that_ends_the_actor_fail() -> None:
    actor = an_actor("plain")
    refs = [actor.stay.remote(0.01), actor.leave.remote(), *(actor.stay.remote(0) for _ in range(3))]
    assert ray.get(refs[0], timeout=20) == "stayed"
    for ref in refs[1:]:
        with pytest.raises(ActorDiedError):
            ray.get(ref, timeout=20)


def test_sys_exit_in_a_task_of_the_loop_ends_the_actor() -> None:
    actor = an_actor("async")
    assert ray.get(actor.leave_later.remote(), timeout=20) == "called"
    wait_for(lambda: is_dead(actor), "the actor has ended")


def is_dead(actor: Any) -> bool:
    try:
        ray.get(actor.pid.remote(), timeout=20)
    except ActorDiedError:
        return True
    return False


@pytest.mark.parametrize("kind", ["plain", "threaded"])
def test_what_is_registered_with_atexit_runs(kind: str, tmp_path: Path) -> None:
    actor = an_actor(kind)
    path = tmp_path / "left"
    ray.get(actor.at_exit.remote(str(path)), timeout=20)
    assert ray.get(actor.threads.remote(), timeout=20) == 1
    with pytest.raises(ActorDiedError):
        ray.get(actor.leave.remote(), timeout=20)
    wait_for(lambda: path.exists() and path.read_text() == "left", "the function has run")


def test_finalizers_and_buffered_lines_of_logs_come_to_their_end_with_the_process(tmp_path: Path) -> None:
    # The first workers of a session come from a zygote that has not done the half of what it does ahead.
    actors = [an_actor("plain") for _ in range(4)]
    folders = [tmp_path / str(number) for number in range(4)]
    for actor, folder in zip(actors, folders, strict=True):
        folder.mkdir()
        ray.get(actor.leave_to_finalizers.remote(str(folder)), timeout=20)
        actor.leave.remote()
    wait_for(lambda: all((folder / "finalized").exists() for folder in folders), "the finalizers have run")
    wait_for(
        lambda: all((f / "log").exists() and (f / "log").read_text() == "the last line\n" for f in folders),
        "the logs are written",
    )


class Tidy:
    """Writes down what of its end is run."""

    def __init__(self, path: str) -> None:
        self.path = path
        atexit.register(self.note, path, "atexit")

    @staticmethod
    def note(path: str, what: str) -> None:
        with open(path, "a") as file:
            file.write(f"{what} ")

    def __ray_shutdown__(self) -> None:
        self.note(self.path, "shutdown")

    def ready(self) -> None: ...

    def leave(self) -> None:
        ray.actor.exit_actor()


class AsyncTidy(Tidy):
    async def leave(self) -> None:
        ray.actor.exit_actor()


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_that_ends_on_purpose_is_told_once(kind: str, tmp_path: Path) -> None:
    cls: Any = ray.remote(AsyncTidy if kind == "async" else Tidy)
    cls = cls.options(num_cpus=0, **({"max_concurrency": 2} if kind == "threaded" else {}))
    ends: dict[str, Any] = {
        "scope": lambda actor: None,
        "terminate": lambda actor: actor.__ray_terminate__.remote(),
        "leave": lambda actor: actor.leave.remote(),
        "kill": ray.kill,
    }
    actors = {name: cls.remote(str(tmp_path / name)) for name in ends}
    ray.get([actor.ready.remote() for actor in actors.values()], timeout=30)
    for name, end in ends.items():
        end(actors.pop(name))

    def told() -> dict[str, list[str]]:
        return {path.name: sorted(path.read_text().split()) for path in tmp_path.iterdir()}

    # One that is killed is told nothing.
    wait_for(lambda: told() == {key: ["atexit", "shutdown"] for key in ("scope", "terminate", "leave")}, "all are told")


def test_exit_actor_in_the_constructor_is_a_death_on_purpose() -> None:
    @ray.remote(num_cpus=0, max_restarts=-1)
    class Never:
        def __init__(self) -> None:
            ray.actor.exit_actor()

        def work(self) -> None: ...

    with pytest.raises(ActorDiedError, match="exit_actor"):
        ray.get(Never.remote().work.remote(), timeout=20)


def test_a_worker_retires_after_max_calls() -> None:
    @ray.remote(max_calls=3)
    def pid() -> int:
        return os.getpid()

    pids = [ray.get(pid.remote(), timeout=20) for _ in range(7)]
    assert len(set(pids)) == 3
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]


def test_max_calls_counts_tasks_that_were_sent_ahead_too() -> None:
    @ray.remote(max_calls=2, max_retries=0)
    def pid(number: int) -> tuple[int, int]:
        return number, os.getpid()

    results = ray.get([pid.remote(n) for n in range(30)], timeout=60)
    assert [number for number, _ in results] == list(range(30))
    pids = [pid_ for _, pid_ in results]
    assert max(pids.count(each) for each in pids) <= 2


def test_a_task_that_holds_a_gpu_uses_its_process_once() -> None:
    @ray.remote(num_gpus=1)
    def pid() -> int:
        return os.getpid()

    assert len({ray.get(pid.remote(), timeout=20) for _ in range(3)}) == 3


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@ray.remote(num_cpus=0)
def one() -> int:
    return 1


class Owned:
    """What a task that ends its worker hands out."""

    @staticmethod
    def small_value() -> Any:
        return ray.put("small"), "small"

    @staticmethod
    def large_value() -> Any:
        return ray.put(b"x" * 1_000_000), b"x" * 1_000_000

    @staticmethod
    def result_of_a_task() -> Any:
        return one.remote(), 1

    @staticmethod
    def nested() -> Any:
        return ray.put([ray.put("inner")]), None


@pytest.mark.parametrize("make", [Owned.small_value, Owned.large_value, Owned.result_of_a_task, Owned.nested])
@pytest.mark.parametrize("options", [{"max_calls": 1, "num_cpus": 0}, {"num_gpus": 0.5, "num_cpus": 0}])
def test_a_worker_that_retires_stays_until_nobody_needs_what_it_owns(make: Any, options: dict[str, Any]) -> None:
    @ray.remote(**options)
    def hand_out() -> Any:
        ref, expected = make()
        return [ref], expected, os.getpid()

    @ray.remote(**options)
    def pid() -> int:
        return os.getpid()

    refs, expected, first = ray.get(hand_out.remote(), timeout=20)
    # It serves nobody any more, and what it held is free: others get workers of their own.
    assert len({first, *(ray.get(pid.remote(), timeout=20) for _ in range(3))}) == 4
    value = ray.get(refs[0], timeout=20)
    assert ray.get(value[0], timeout=20) == "inner" if expected is None else value == expected
    assert is_running(first)
    del refs, value
    gc.collect()
    wait_for(lambda: not is_running(first), "it has ended")


def test_a_worker_that_retires_stays_for_the_tasks_that_it_started(tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"

    @ray.remote(num_cpus=0, max_retries=0)
    def wait() -> None:
        wait_for(gate.exists, "the gate is open")
        done.touch()

    @ray.remote(max_calls=1)
    def start() -> int:
        wait.remote()
        return os.getpid()

    first = ray.get(start.remote(), timeout=20)
    assert is_running(first)
    gate.touch()
    wait_for(done.exists, "the task that nobody waits for has run")
    wait_for(lambda: not is_running(first), "its owner has ended")


def test_a_worker_that_retires_stays_for_an_actor_whose_handle_it_gave_away() -> None:
    @ray.remote(num_cpus=0)
    class Kept:
        def ping(self) -> int:
            return 1

    @ray.remote(max_calls=1)
    def make() -> Any:
        return Kept.remote(), os.getpid()

    actor, first = ray.get(make.remote(), timeout=20)
    assert ray.get(actor.ping.remote(), timeout=20) == 1
    assert is_running(first)
    del actor
    gc.collect()
    wait_for(lambda: not is_running(first), "its owner has ended")


def test_a_global_reference_does_not_keep_a_worker_that_retires() -> None:
    @ray.remote(max_calls=1)
    def keep() -> int:
        os.kept_by_a_test = ray.put("for nobody else")  # type: ignore[attr-defined]
        return os.getpid()

    first = ray.get(keep.remote(), timeout=20)
    wait_for(lambda: not is_running(first), "it has ended")
