"""ray.cancel: tasks and calls that wait, are on their way, run or are done; by force; with their children."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import RayTaskError, TaskCancelledError
from ray.util.state import list_tasks

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB

pytestmark = pytest.mark.usefixtures("session")


def touch(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@ray.remote(max_retries=2)
def hold(path: str, seconds: float = 60.0) -> str:
    touch(path)
    time.sleep(seconds)
    return "done"


@ray.remote
def take(value: Any) -> Any:
    return value


def cancelled(ref: Any) -> bool:
    try:
        ray.get(ref, timeout=20)
    except TaskCancelledError:
        return True
    return False


def cpus_are_back() -> bool:
    return ray.available_resources().get("CPU") == 4.0


def test_a_task_that_sleeps_is_interrupted_and_not_run_again(tmp_path: Path) -> None:
    started = tmp_path / "started"
    ref = hold.remote(str(started))
    wait_for(lambda: size(started) == 1, "the task runs")
    ray.cancel(ref)
    with pytest.raises(TaskCancelledError) as caught:
        ray.get(ref, timeout=20)
    assert isinstance(caught.value, RayTaskError)
    assert ", in hold" in str(caught.value)  # asleep, or on its way there
    assert "_runtime" not in str(caught.value)
    assert ray.get(take.remote(1), timeout=20) == 1
    assert size(started) == 1
    with pytest.raises(TaskCancelledError):
        ray.get(take.remote(ref), timeout=20)


def test_a_task_that_computes_is_interrupted_and_its_worker_goes_on(tmp_path: Path) -> None:
    @ray.remote
    def spin(path: str) -> None:
        touch(path)
        while True:
            sum(range(100))

    for number in range(5):
        started = tmp_path / str(number)
        ref = spin.remote(str(started))
        wait_for(lambda path=started: size(path) == 1, "the task runs")  # type: ignore[misc]
        ray.cancel(ref)
        assert cancelled(ref)


@pytest.mark.parametrize("kind", ["put", "submit", "get"])
def test_a_task_that_calls_the_runtime_all_the_time_is_interrupted(kind: str, tmp_path: Path) -> None:
    @ray.remote
    def busy(kind: str, path: str) -> None:
        touch(path)
        while True:
            if kind == "put":
                ray.put(kind)
            elif kind == "submit":
                take.remote(1)
            else:
                ray.get(take.remote(1))

    started = tmp_path / "started"
    ref = busy.remote(kind, str(started))
    wait_for(lambda: size(started) == 1, "the task runs")
    ray.cancel(ref)
    assert cancelled(ref)
    assert ray.get(take.remote(1), timeout=20) == 1


def test_a_task_may_answer_the_interrupt_with_a_result(tmp_path: Path) -> None:
    @ray.remote
    def catch(path: str) -> str:
        try:
            touch(path)
            time.sleep(60)
        except KeyboardInterrupt:
            return "caught"
        return "slept"

    started = tmp_path / "started"
    ref = catch.remote(str(started))
    wait_for(lambda: size(started) == 1, "the task runs")
    ray.cancel(ref)
    assert ray.get(ref, timeout=20) == "caught"


def test_a_task_that_waits_in_get_is_interrupted_and_so_are_its_children(tmp_path: Path) -> None:
    @ray.remote
    def parent(path: str) -> None:
        ray.get([hold.remote(path), hold.remote(path)])

    started = tmp_path / "started"
    ref = parent.remote(str(started))
    wait_for(lambda: size(started) == 2, "the children run")
    ray.cancel(ref)
    assert cancelled(ref)
    wait_for(cpus_are_back, "the children have ended too")


def test_children_are_spared_when_asked(tmp_path: Path) -> None:
    @ray.remote
    def child(path: str) -> None:
        touch(path)
        time.sleep(0.5)
        touch(path)

    @ray.remote
    def parent(path: str) -> None:
        ray.get(child.remote(path))

    path = tmp_path / "path"
    ref = parent.remote(str(path))
    wait_for(lambda: size(path) == 1, "the child runs")
    ray.cancel(ref, recursive=False)
    assert cancelled(ref)
    wait_for(lambda: size(path) == 2, "the child runs to its end")


def test_tasks_that_wait_for_workers_end_at_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    running = [hold.remote(str(started)) for _ in range(4)]
    wait_for(lambda: size(started) == 4, "all CPUs are taken")
    waiting = [hold.remote(str(started)) for _ in range(10)]
    for ref in waiting:
        ray.cancel(ref)
    assert all(cancelled(ref) for ref in waiting)
    for ref in running:
        ray.cancel(ref)
    assert all(cancelled(ref) for ref in running)
    assert size(started) == 4
    assert ray.get(take.remote(2), timeout=20) == 2


def test_tasks_that_were_sent_ahead_are_cancelled_in_the_worker_s_queue() -> None:
    @ray.remote
    def short(number: int) -> int:
        return number

    ray.get([short.remote(n) for n in range(200)], timeout=30)
    refs = [short.remote(n) for n in range(2000)]
    for ref in refs[::2]:
        ray.cancel(ref)
    assert ray.get(refs[1::2], timeout=30) == list(range(1, 2000, 2))
    for number, ref in enumerate(refs[::2]):
        # Each either came too late, or is cancelled; none hits another one.
        try:
            assert ray.get(ref, timeout=30) == 2 * number
        except TaskCancelledError:
            continue


def test_a_task_that_waits_for_its_arguments_ends_at_once(tmp_path: Path) -> None:
    late = hold.remote(str(tmp_path / "started"))
    ref = take.remote(late)
    ray.cancel(ref)
    assert cancelled(ref)
    ray.cancel(late)
    assert cancelled(late)


def test_a_task_that_is_done_keeps_its_result() -> None:
    ref = take.remote(3)
    assert ray.get(ref) == 3
    ray.cancel(ref)
    ray.cancel(ray.put(1))
    assert ray.get(ref) == 3


def test_force_ends_the_process_and_the_children(tmp_path: Path) -> None:
    @ray.remote(max_retries=3)
    def stubborn(path: str) -> None:
        child = hold.remote(path)
        while True:
            try:
                ray.get(child)
            except BaseException:
                touch(path)
                time.sleep(0.01)

    started = tmp_path / "started"
    ref = stubborn.remote(str(started))
    wait_for(lambda: size(started) == 1, "the child runs")
    ray.cancel(ref, force=True)
    assert cancelled(ref)
    wait_for(cpus_are_back, "the child has ended too")


@pytest.mark.parametrize("how", ["computes", "waits", "yields"])
def test_force_loses_nothing_that_others_use_of_what_the_process_owns(tmp_path: Path, how: str) -> None:
    """Its code goes no further, whatever it catches; its process ends once nobody needs it any more."""

    @ray.remote
    def parent() -> Any:
        return ray.put(np.full(MIB, 7, dtype="uint8")), ray.put("small"), os.getpid()

    @ray.remote(max_retries=3)
    def stubborn(path: str, never: list[Any]) -> None:
        touch(f"{path}.{os.getpid()}")
        while True:
            try:
                while True:
                    if how == "waits":
                        ray.get(never)
                    len(os.listdir("."))
            except BaseException:
                touch(f"{path}.caught")

    @ray.remote(num_returns="streaming", _generator_backpressure_num_objects=1)
    def items(path: str) -> Iterator[int]:
        touch(f"{path}.{os.getpid()}")
        try:
            yield from range(9)
        finally:
            touch(f"{path}.caught")

    started = tmp_path / "started"
    never = hold.options(num_cpus=0).remote(str(tmp_path / "held"))
    for _ in range(20):
        large, small, pid = ray.get(parent.remote(), timeout=30)
        if how == "yields":
            generator = items.remote(str(started))
            ref = generator.completed()
        else:
            ref = stubborn.remote(str(started), [never])
        wait_for(lambda: list(tmp_path.glob("started.*")), "it runs")
        (began,) = tmp_path.glob("started.*")
        if began.suffix == f".{pid}":
            break
        # It went to another process, which owns nothing.
        ray.cancel(ref, force=True)
        wait_for(cpus_are_back, "it has ended")
        began.unlink()
    assert began.suffix == f".{pid}", "no task ran where the objects are"
    ray.cancel(ref, force=True)
    if how == "yields":
        with pytest.raises(TaskCancelledError):
            ray.get(list(generator), timeout=30)
        del generator
    else:
        assert cancelled(ref)
    wait_for(cpus_are_back, "others have its CPU")
    assert ray.get(small, timeout=30) == "small" and int(ray.get(large, timeout=30)[-1]) == 7
    assert not (tmp_path / "started.caught").exists() and Path(f"/proc/{pid}").exists()
    del large, small
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "nobody needs it any more")
    ray.cancel(never)


def test_who_only_borrows_a_reference_may_cancel(tmp_path: Path) -> None:
    @ray.remote
    def canceller(refs: list[Any]) -> None:
        ray.cancel(refs[0])

    started = tmp_path / "started"
    ref = hold.remote(str(started))
    wait_for(lambda: size(started) == 1, "the task runs")
    ray.get(canceller.remote([ref]), timeout=20)
    assert cancelled(ref)


@ray.remote(num_cpus=0)
class Plain:
    def hold(self, path: str) -> None:
        touch(path)
        context = ray.get_runtime_context()
        deadline = time.monotonic() + 20
        while not context.is_canceled():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        touch(path)

    def nested(self, path: str) -> None:
        ray.get(hold.remote(path))

    def ping(self) -> str:
        return "pong"


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_method_runs_to_its_end_and_may_ask_whether_it_is_wanted(concurrency: int, tmp_path: Path) -> None:
    actor = Plain.options(max_concurrency=concurrency).remote()
    path = tmp_path / "held"
    running = actor.hold.remote(str(path))
    wait_for(lambda: size(path) == 1, "the method runs")
    ray.cancel(running)
    assert cancelled(running)
    assert size(path) == 2
    assert ray.get(actor.ping.remote(), timeout=20) == "pong"


def test_a_call_that_waits_behind_another_is_not_run(tmp_path: Path) -> None:
    actor = Plain.remote()
    first, second = tmp_path / "first", tmp_path / "second"
    running, waiting = actor.hold.remote(str(first)), actor.hold.remote(str(second))
    wait_for(lambda: size(first) == 1, "the first runs")
    ray.cancel(waiting)
    assert cancelled(waiting)
    ray.cancel(running)
    assert cancelled(running)
    assert size(second) == 0


def test_a_call_that_waits_for_its_argument_holds_up_no_other_once_it_is_cancelled(tmp_path: Path) -> None:
    actor = Plain.remote()
    late = hold.remote(str(tmp_path / "started"))
    waiting, behind = actor.hold.remote(late), actor.ping.remote()
    ray.cancel(waiting)
    assert cancelled(waiting)
    assert ray.get(behind, timeout=20) == "pong"
    ray.cancel(late)


def test_the_children_of_a_call_are_cancelled(tmp_path: Path) -> None:
    actor = Plain.remote()
    started = tmp_path / "started"
    ref = actor.nested.remote(str(started))
    wait_for(lambda: size(started) == 1, "the child runs")
    ray.cancel(ref)
    assert cancelled(ref)
    assert ray.get(actor.ping.remote(), timeout=20) == "pong"


@ray.remote(num_cpus=0)
class Sleeper:
    def __init__(self) -> None:
        self.ended = 0

    async def sleep(self, path: str) -> None:
        touch(path)
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended += 1

    async def ends(self) -> int:
        return self.ended


def test_calls_of_actors_that_a_task_made_are_cancelled_with_it(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    def call(actors: list[Any], path: str) -> None:
        ray.get([actor.sleep.remote(path) for actor in actors] + [actors[0].sleep.remote(path=path)])

    actors = [Sleeper.remote(), Sleeper.remote()]
    path = tmp_path / "started"
    ref = call.remote(actors, str(path))
    wait_for(lambda: size(path) == 3, "all calls run")
    ray.cancel(ref)
    assert cancelled(ref)
    wait_for(lambda: ray.get([actor.ends.remote() for actor in actors], timeout=20) == [2, 1], "its calls have ended")
    assert size(path) == 3

    def listed() -> list[tuple[Any, ...]]:
        rows = list_tasks(filters=[("name", "=", "Sleeper.sleep")])
        return [(row.state, row.error_type, row.attempt_number) for row in rows]

    wait_for(lambda: listed() == [("FAILED", "TASK_CANCELLED", 0)] * 3, "each is listed once")


def test_calls_cannot_be_forced() -> None:
    actor = Plain.remote()
    with pytest.raises(ValueError, match="force=True is not supported"):
        ray.cancel(actor.ping.remote(), force=True)


def test_a_coroutine_is_cancelled(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_concurrency=3)
    class Async:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def sleep(self, answer: str, path: str) -> str:
            touch(path)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                if answer == "other":
                    raise ValueError(answer) from None
                if answer != "swallow":
                    raise
            return "done"

        async def saw(self) -> list[str]:
            return self.seen

    actor = Async.remote()
    path = tmp_path / "started"
    refs = [actor.sleep.remote(answer, str(path)) for answer in ("pass on", "swallow", "other", "never runs")]
    wait_for(lambda: size(path) == 3, "three run")
    for ref in reversed(refs):
        ray.cancel(ref)
    assert all(cancelled(ref) for ref in refs)
    assert ray.get(actor.saw.remote(), timeout=20) == ["cancelled"] * 3
    # Whatever the coroutine makes of it, its caller sees one class, with the method that was cancelled.
    for ref in refs[:3]:
        with pytest.raises(RayTaskError, match="Async"):
            ray.get(ref, timeout=20)


def test_an_interrupt_never_reaches_the_task_that_comes_next() -> None:
    @ray.remote(num_cpus=1)
    def brief(number: int) -> int:
        time.sleep(0.001)
        return number

    @ray.remote(num_cpus=4)
    def careful(number: int) -> int:
        return sum(n for n in range(20_000)) * 0 + number

    for round_ in range(30):
        victim = brief.remote(round_)
        others = [careful.remote(n) for n in range(3)]
        ray.cancel(victim)
        assert ray.get(others, timeout=30) == [0, 1, 2]
