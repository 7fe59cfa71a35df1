"""Actors that run calls on threads, and concurrency groups of both kinds of actors."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.integration.conditions import wait_for
from tests.integration.faults.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def late(value: Any, seconds: float) -> Any:
    time.sleep(seconds)
    return value


@ray.remote
def gated(value: Any, gate: Gate) -> Any:
    gate.come(value)
    return value


@ray.remote(num_cpus=0, max_concurrency=4)
class Meeting:
    def __init__(self) -> None:
        self.barrier = threading.Barrier(4)
        self.inside = 0
        self.most = 0
        self.lock = threading.Lock()

    def meet(self) -> int:
        return self.barrier.wait(20)

    def stay(self, seconds: float) -> int:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(seconds)
        with self.lock:
            self.inside -= 1
        return self.most

    def thread(self) -> int:
        return threading.get_ident()

    def whose(self, seconds: float) -> tuple[str | None, str | None]:
        before = ray.get_runtime_context().get_task_id()
        time.sleep(seconds)
        return before, ray.get_runtime_context().get_task_id()

    def nested(self, value: int) -> int:
        result: int = ray.get(late.remote(value, 0.05))
        return result

    def fail(self) -> None:
        raise KeyError("here")


def test_calls_run_side_by_side_up_to_the_limit() -> None:
    meeting = Meeting.remote()
    assert sorted(ray.get([meeting.meet.remote() for _ in range(4)], timeout=30)) == [0, 1, 2, 3]
    assert max(ray.get([meeting.stay.remote(0.01) for _ in range(12)], timeout=30)) == 4
    assert len(set(ray.get([meeting.thread.remote() for _ in range(50)], timeout=30))) <= 4


def test_each_call_knows_its_own_task() -> None:
    meeting = Meeting.remote()
    seen = ray.get([meeting.whose.remote(0.01) for _ in range(12)], timeout=30)
    assert all(before == after for before, after in seen)
    assert len(set(seen)) == 12


def test_calls_wait_for_tasks_of_their_own() -> None:
    meeting = Meeting.remote()
    assert ray.get([meeting.nested.remote(n) for n in range(8)], timeout=30) == list(range(8))
    with pytest.raises(KeyError, match="here"):
        ray.get(meeting.fail.remote(), timeout=20)


def test_a_threaded_actor_that_only_waits_lends_its_cpus() -> None:
    """The four CPUs of the node are the actor's; its children need them while all of its calls wait."""
    holder = Meeting.options(num_cpus=4).remote()
    assert ray.get([holder.nested.remote(n) for n in range(3)], timeout=30) == [0, 1, 2]


def test_a_late_argument_holds_up_no_other_call(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_concurrency=2)
    class Adder:
        value = 0

        def add(self, amount: int) -> int:
            self.value += amount
            return self.value

    adder, gate = Adder.remote(), Gate(tmp_path)
    first, second = adder.add.remote(gated.remote(1, gate)), adder.add.remote(2)
    assert ray.get(second, timeout=20) == 2
    gate.open()
    assert ray.get(first, timeout=20) == 3


def test_one_submitter_s_calls_of_a_plain_actor_keep_their_order_behind_a_late_argument(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    class Adder:
        value = 0

        def add(self, amount: int) -> int:
            self.value += amount
            return self.value

    adder, gate = Adder.remote(), Gate(tmp_path)
    first, second = adder.add.remote(gated.remote(1, gate)), adder.add.remote(2)
    gate.wait_for(1)
    assert ray.wait([second], timeout=0.2)[0] == []
    gate.open()
    assert ray.get([first, second], timeout=20) == [1, 3]
    gate.close()
    loose = Adder.options(allow_out_of_order_execution=True).remote()
    first, second = loose.add.remote(gated.remote(1, gate)), loose.add.remote(2)
    assert ray.get(second, timeout=20) == 2
    gate.open()
    assert ray.get(first, timeout=20) == 3


@ray.remote(num_cpus=0, concurrency_groups={"health": 1, "compute": 2})
class Threaded:
    def __init__(self) -> None:
        self.release = threading.Event()
        self.busy = 0

    @ray.method(concurrency_group="compute")
    def compute(self) -> str:
        self.busy += 1
        assert self.release.wait(20)
        return threading.current_thread().name

    @ray.method(concurrency_group="health")
    def healthy(self) -> int:
        return self.busy

    def let_go(self) -> None:
        self.release.set()

    def thread(self) -> int:
        return threading.get_ident()


@ray.remote(num_cpus=0, concurrency_groups={"health": 1, "compute": 2})
class OnLoop:
    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.busy = 0

    @ray.method(concurrency_group="compute")
    async def compute(self) -> str:
        self.busy += 1
        # Made before the group's loop; what it belongs to is the loop that first waits for it.
        self.loop = asyncio.get_running_loop()
        await asyncio.wait_for(self.release.wait(), 20)
        return "done"

    @ray.method(concurrency_group="health")
    async def healthy(self) -> int:
        return self.busy

    async def let_go(self) -> None:
        self.loop.call_soon_threadsafe(self.release.set)


@pytest.mark.parametrize("kind", [Threaded, OnLoop])
def test_a_health_check_answers_while_compute_is_saturated(kind: Any) -> None:
    actor = kind.remote()
    running = [actor.compute.remote() for _ in range(6)]
    # Dispatched into the full group at run time, it waits like the others.
    waiting = actor.healthy.options(concurrency_group="compute").remote()
    assert ray.get(actor.healthy.remote(), timeout=20) <= 2
    wait_for(lambda: ray.get(actor.healthy.remote(), timeout=20) == 2, "as many as the group allows run")
    assert ray.wait([*running, waiting], timeout=0.2)[0] == []
    assert ray.get(actor.healthy.remote(), timeout=20) == 2
    ray.get(actor.let_go.remote(), timeout=20)
    assert len(ray.get(running, timeout=20)) == 6
    assert ray.get(waiting, timeout=20) >= 2


def test_the_default_group_has_a_limit_of_its_own() -> None:
    actor = Threaded.remote()
    assert len(set(ray.get([actor.thread.remote() for _ in range(20)], timeout=20))) == 1
    others = actor.thread.options(concurrency_group="health").remote()
    assert ray.get(others, timeout=20) != ray.get(actor.thread.remote(), timeout=20)


def test_an_unknown_group_is_refused_at_the_call_and_at_the_creation() -> None:
    actor = Threaded.remote()
    with pytest.raises(ValueError, match=r"'nope'.*compute"):
        actor.thread.options(concurrency_group="nope").remote()
    assert ray.get(actor.thread.remote(), timeout=20)

    @ray.remote(num_cpus=0, concurrency_groups={"io": 1})
    class Wrong:
        @ray.method(concurrency_group="oi")
        def work(self) -> None: ...

    with pytest.raises(ValueError, match=r"Wrong.work is in concurrency group 'oi'"):
        Wrong.remote()


def test_more_unfinished_calls_than_max_pending_calls_are_refused() -> None:
    actor = Threaded.options(max_pending_calls=2).remote()
    running = [actor.compute.remote() for _ in range(2)]
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded, match="max_pending_calls"):
        actor.let_go.remote()
    from_elsewhere = release.remote([actor])
    assert ray.get(from_elsewhere, timeout=20) is None
    ray.get(running, timeout=20)
    assert ray.get(actor.thread.remote(), timeout=20)


@ray.remote
def release(handles: list[Any]) -> None:
    ray.get(handles[0].let_go.remote())
