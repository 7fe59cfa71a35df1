"""Actors whose process dies: restarts, what becomes of calls, and the causes that errors name."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from manta_proto.gcs.v1 import actor_pb2
from ray._runtime import current
from ray._runtime.process.process import Process
from ray.exceptions import ActorDiedError, ActorUnavailableError

from tests.integration.conditions import wait_for
from tests.integration.faults.gates import Gate

pytestmark = pytest.mark.usefixtures("session")
WAIT_S = 20.0


@ray.remote(num_cpus=0)
class Mortal:
    def __init__(self, kept: Any = None, gate: Gate | None = None) -> None:
        self.kept = kept
        self.calls = 0
        if gate is not None:
            gate.come("constructor")

    def pid(self) -> int:
        return os.getpid()

    def reconstructed(self) -> bool:
        return ray.get_runtime_context().was_current_actor_reconstructed

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def total(self) -> int:
        return int(sum(self.kept))

    def inside(self) -> int:
        return int(ray.get(self.kept[0]).sum())

    def pass_through(self, gate: Gate) -> str:
        gate.come("call")
        return "passed"

    def exit(self, code: int) -> None:
        os._exit(code)

    def crash_once(self, marker: str) -> str:
        """Ends its process the first time, with the last words of a program that failed."""
        if not os.path.exists(marker):
            Path(marker).touch()
            print("these are my last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"


def kill_process(actor: Any) -> int:
    pid = int(ray.get(actor.pid.remote(), timeout=WAIT_S))
    os.kill(pid, signal.SIGKILL)
    return pid


def answers(actor: Any) -> bool:
    try:
        ray.get(actor.pid.remote(), timeout=WAIT_S)
    except ActorUnavailableError:
        return False
    return True


def test_an_actor_restarts_as_often_as_allowed_and_then_is_dead() -> None:
    actor = Mortal.options(max_restarts=2, max_task_retries=-1).remote()
    for restarts in range(2):
        assert ray.get(actor.count.remote(), timeout=WAIT_S) == 1  # the state is new
        assert ray.get(actor.reconstructed.remote(), timeout=WAIT_S) == (restarts > 0)
        before = kill_process(actor)
        assert ray.get(actor.pid.remote(), timeout=WAIT_S) != before
    kill_process(actor)
    with pytest.raises(ActorDiedError, match="signal 9"):
        ray.get(actor.count.remote(), timeout=WAIT_S)


def test_an_actor_without_a_limit_goes_on_restarting() -> None:
    actor = Mortal.options(max_restarts=-1, max_task_retries=-1).remote()
    pids = [kill_process(actor) for _ in range(3)]
    assert len(set(pids)) == 3 and ray.get(actor.count.remote(), timeout=WAIT_S) == 1


def test_a_call_that_runs_when_the_process_dies_fails_unless_it_may_be_repeated(tmp_path: Path) -> None:
    actor = Mortal.options(max_restarts=2).remote()
    with pytest.raises(ActorUnavailableError):
        ray.get(actor.crash_once.remote(str(tmp_path / "first")), timeout=WAIT_S)
    wait_for(lambda: answers(actor), "the actor is back")
    repeated = actor.crash_once.options(max_task_retries=1).remote(str(tmp_path / "second"))
    assert ray.get(repeated, timeout=WAIT_S) == "survived"


def test_calls_behind_the_one_that_died_keep_their_order_when_repeated(tmp_path: Path) -> None:
    actor = Mortal.options(max_restarts=1, max_task_retries=2).remote()
    refs = [actor.crash_once.remote(str(tmp_path / "once")), *(actor.count.remote() for _ in range(20))]
    assert ray.get(refs, timeout=WAIT_S) == ["survived", *range(1, 21)]


def test_a_call_during_a_restart_waits_or_fails_as_its_options_say(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.open()
    actor = Mortal.options(max_restarts=1).remote(None, gate)
    first = int(ray.get(actor.pid.remote(), timeout=WAIT_S))
    gate.close()
    before = actor.count.remote()
    ray.wait([before], timeout=WAIT_S)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(gate.pids("constructor")) == 2, "the constructor runs again")
    with pytest.raises(ActorUnavailableError, match="restarts"):
        ray.get(actor.pid.remote(), timeout=WAIT_S)
    patient = actor.pid.options(max_task_retries=1).remote()
    assert ray.wait([patient], timeout=0)[0] == []
    gate.open()
    assert ray.get(patient, timeout=WAIT_S) != first


def test_kill_without_no_restart_ends_only_the_present_process() -> None:
    actor = Mortal.options(max_restarts=1, max_task_retries=-1).remote()
    pid = ray.get(actor.pid.remote(), timeout=WAIT_S)
    ray.kill(actor, no_restart=False)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")
    assert ray.get(actor.pid.remote(), timeout=WAIT_S) != pid
    ray.kill(actor)
    with pytest.raises(ActorDiedError, match=r"ray\.kill"):
        ray.get(actor.pid.remote(), timeout=WAIT_S)


@pytest.mark.parametrize("by_reference", [True, False])
def test_arguments_of_the_constructor_outlive_their_creator_s_references(by_reference: bool) -> None:
    array = np.full(300_000, 2, dtype="int64")  # goes to the arena
    kept = ray.put(array) if by_reference else array
    actor = Mortal.options(max_restarts=-1, max_task_retries=-1).remote(kept)
    del kept, array
    gc.collect()
    for _ in range(2):
        assert ray.get(actor.total.remote(), timeout=WAIT_S) == 600_000
        kill_process(actor)
    assert ray.get(actor.total.remote(), timeout=WAIT_S) == 600_000


def test_references_inside_arguments_of_the_constructor_are_there_after_a_restart() -> None:
    inner = ray.put(np.ones(300_000))
    actor = Mortal.options(max_restarts=-1, max_task_retries=-1).remote([inner])
    del inner
    gc.collect()
    assert ray.get(actor.inside.remote(), timeout=WAIT_S) == 300_000
    kill_process(actor)
    assert ray.get(actor.inside.remote(), timeout=WAIT_S) == 300_000


# ---- exceptions that are worth another attempt


@ray.remote(num_cpus=0, max_task_retries=3)
class Fragile:
    def __init__(self) -> None:
        self.attempts = 0

    def _fail(self, times: int, error: type[Exception]) -> int:
        self.attempts += 1
        if self.attempts <= times:
            raise error(f"attempt {self.attempts}")
        return self.attempts

    @ray.method(retry_exceptions=True)
    def any_error(self, times: int) -> int:
        return self._fail(times, ValueError)

    @ray.method(retry_exceptions=[KeyError, OSError])
    def some_errors(self, times: int, error: type[Exception]) -> int:
        return self._fail(times, error)

    @ray.method(retry_exceptions=True, max_task_retries=1)
    def one_retry(self, times: int) -> int:
        return self._fail(times, ValueError)

    def plain(self, times: int) -> int:
        return self._fail(times, ValueError)

    def seen(self) -> int:
        return self.attempts


def test_methods_that_raise_are_run_again_as_retry_exceptions_says() -> None:
    assert ray.get(Fragile.remote().any_error.remote(3), timeout=WAIT_S) == 4
    assert ray.get(Fragile.remote().some_errors.remote(2, FileNotFoundError), timeout=WAIT_S) == 3


@pytest.mark.parametrize(
    ("method", "arguments", "options", "error", "attempts"),
    [
        ("any_error", (9,), {}, ValueError, 4),
        ("some_errors", (9, ValueError), {}, ValueError, 1),
        ("one_retry", (9,), {}, ValueError, 2),
        ("plain", (9,), {}, ValueError, 1),
        ("plain", (9,), {"retry_exceptions": True, "max_task_retries": 2}, ValueError, 3),
        ("any_error", (9,), {"retry_exceptions": False}, ValueError, 1),
    ],
)
def test_a_method_that_goes_on_raising_is_run_as_often_as_its_retries_allow(
    method: str, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], attempts: int
) -> None:
    actor = Fragile.remote()
    with pytest.raises(error, match=f"attempt {attempts}"):
        ray.get(getattr(actor, method).options(**options).remote(*arguments), timeout=WAIT_S)
    assert ray.get(actor.seen.remote(), timeout=WAIT_S) == attempts


# ---- causes


def test_the_error_names_the_exit_code() -> None:
    actor = Mortal.remote()
    with pytest.raises(ActorDiedError, match="exit code 7"):
        ray.get(actor.exit.remote(7), timeout=WAIT_S)


def test_the_error_names_the_signal_and_shows_the_last_lines(tmp_path: Path) -> None:
    actor = Mortal.remote()
    with pytest.raises(ActorDiedError, match="signal 9") as caught:
        ray.get(actor.crash_once.remote(str(tmp_path / "marker")), timeout=WAIT_S)
    assert "these are my last words" in str(caught.value)


def test_a_constructor_that_raises_on_a_restart_ends_the_actor(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class OnlyOnce:
        def __init__(self, marker: str) -> None:
            Path(marker).touch(exist_ok=False)

        def pid(self) -> int:
            return os.getpid()

    actor = OnlyOnce.remote(str(tmp_path / "marker"))
    kill_process(actor)
    with pytest.raises(ActorDiedError, match="FileExistsError") as caught:
        ray.get(actor.pid.remote(), timeout=WAIT_S)
    assert caught.value.actor_init_failed


def test_an_actor_dies_with_the_process_that_created_it() -> None:
    @ray.remote(num_cpus=0)
    class Parent:
        def __init__(self) -> None:
            self.child = Mortal.remote()

        def share(self) -> list[Any]:
            return [self.child]

        def exit(self) -> None:
            os._exit(1)

    parent = Parent.remote()
    (child,) = ray.get(parent.share.remote(), timeout=WAIT_S)
    assert ray.get(child.count.remote(), timeout=WAIT_S) == 1
    parent.exit.remote()
    wait_for(lambda: not answers_at_all(child), "the child has gone with its parent")
    with pytest.raises(ActorDiedError, match="its owner has died"):
        ray.get(child.count.remote(), timeout=WAIT_S)


def answers_at_all(actor: Any) -> bool:
    try:
        ray.get(actor.pid.remote(), timeout=WAIT_S)
    except ActorDiedError:
        return False
    return True


@ray.remote(num_cpus=0)
class Acquaintance:
    """Holds a handle by name, in a process that has no other of that actor."""

    def meet(self, name: str) -> None:
        self.met = ray.get_actor(name)

    def call(self) -> str:
        try:
            ray.get(self.met.pid.remote(), timeout=WAIT_S)
        except ActorDiedError as error:
            return str(error)
        return ""


def test_a_handle_by_name_says_that_the_actor_went_out_of_scope() -> None:
    actor, other = Mortal.options(name="scoped").remote(), Acquaintance.remote()
    ray.get(actor.pid.remote(), timeout=WAIT_S)
    ray.get(other.meet.remote("scoped"), timeout=WAIT_S)
    del actor
    gc.collect()
    wait_for(lambda: ray.get(other.call.remote(), timeout=WAIT_S) != "", "the actor has gone")
    assert "all references to the actor were removed" in ray.get(other.call.remote(), timeout=WAIT_S)


def test_what_an_actor_replied_before_its_end_counts_although_its_death_is_heard_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, gate = current.runtime(), Gate(tmp_path)
    assert isinstance(process, Process)
    told, reads_nothing = threading.Event(), threading.Event()
    on_statuses = process.gcs.on_statuses

    def tell(statuses: Sequence[actor_pb2.ActorStatus]) -> None:
        on_statuses(statuses)
        if any(status.state == actor_pb2.DEAD for status in statuses):
            told.set()

    def read_nothing() -> None:
        reads_nothing.set()
        told.wait(WAIT_S)

    monkeypatch.setattr(process.gcs, "on_statuses", tell)
    actor = Mortal.remote()
    answer, end = actor.pass_through.remote(gate), actor.__ray_terminate__.remote()
    gate.wait_for("call")
    wait_for(process.peers.settled, "both calls have left")
    process.reactor.call_soon(read_nothing)
    assert reads_nothing.wait(WAIT_S)
    gate.open()
    assert told.wait(WAIT_S), "the GCS tells of its death"
    assert ray.get(answer, timeout=WAIT_S) == "passed"
    with pytest.raises(ActorDiedError):
        ray.get(end, timeout=WAIT_S)
