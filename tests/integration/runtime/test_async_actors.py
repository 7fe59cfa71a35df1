"""Actors with async methods: one event loop, limits, references in it, blocking calls, what methods may do there."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime import current
from ray._runtime.actors.actor_calls import WINDOW

from tests.integration.conditions import wait_for
from tests.integration.faults.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def late(value: Any, seconds: float = 0.05) -> Any:
    time.sleep(seconds)
    return value


@ray.remote
def gated(value: Any, gate: Gate) -> Any:
    gate.come(value)
    return value


@ray.remote(num_cpus=0)
class Meeting:
    """Calls meet here: `arrive` returns once `expected` calls are inside at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.all_here = asyncio.Event()

    async def arrive(self, expected: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == expected:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), 20)
        return self.inside

    async def stay(self, seconds: float) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(seconds)
        self.inside -= 1
        return self.most

    def where(self) -> tuple[bool, int]:
        return threading.current_thread() is threading.main_thread(), id(asyncio.get_running_loop())

    async def where_async(self) -> tuple[bool, int]:
        return threading.current_thread() is threading.main_thread(), id(asyncio.get_running_loop())


def test_calls_run_at_once_on_one_loop() -> None:
    meeting = Meeting.remote()
    assert ray.get([meeting.arrive.remote(200) for _ in range(200)], timeout=30) == [200] * 200
    plain, coroutine = ray.get([meeting.where.remote(), meeting.where_async.remote()])
    assert plain == coroutine
    assert plain[0]


@ray.remote(num_cpus=0, concurrency_groups={"compute": 2, "health": 1})
class Grouped:
    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()

    def block(self) -> int:
        return self.block_in_thread()

    @ray.method(concurrency_group="compute")
    async def block_group(self) -> int:
        return self.block_in_thread()

    def block_in_thread(self) -> int:
        self.begun.release()
        assert self.release.wait(60)
        return threading.get_ident()

    @ray.method(concurrency_group="health")
    async def when_blocked(self, count: int) -> bool:
        return all(self.begun.acquire(timeout=60) for _ in range(count))

    @ray.method(concurrency_group="health")
    def let_go(self) -> None:
        self.release.set()

    async def where(self) -> tuple[int, int]:
        return threading.get_ident(), id(asyncio.get_running_loop())

    def where_plain(self) -> tuple[int, int]:
        return threading.get_ident(), id(asyncio.get_event_loop())

    @ray.method(concurrency_group="compute")
    async def wait_for_task(self) -> int:
        result: int = ray.get(late.remote(threading.get_ident()))
        return result

    @ray.method(concurrency_group="compute")
    async def sleep(self) -> None:
        await asyncio.sleep(3600)


def test_a_blocked_group_holds_up_no_other() -> None:
    actor = Grouped.remote()
    blocked = [actor.block.remote(), actor.block_group.remote()]
    assert ray.get(actor.when_blocked.remote(2), timeout=60)
    # Of a group that is blocked, behind which it waits; it is answered all the same once the group is free.
    behind = actor.block_in_thread.remote()
    assert ray.wait([*blocked, behind], timeout=0.1)[0] == []
    ray.get(actor.let_go.remote(), timeout=60)
    threads = ray.get([*blocked, behind], timeout=60)
    assert threads[0] != threads[1]
    assert threads[0] == threads[2]


def test_each_group_has_one_loop_and_one_thread() -> None:
    actor = Grouped.remote()

    def of(group: str) -> set[tuple[int, int]]:
        calls = [actor.where.options(concurrency_group=group), actor.where_plain.options(concurrency_group=group)]
        return set(ray.get([call.remote() for call in calls for _ in range(3)], timeout=60))

    of_groups = [of(name) for name in ("compute", "health")]
    default = set(ray.get([actor.where.remote(), actor.where_plain.remote()], timeout=60))
    assert [len(found) for found in (*of_groups, default)] == [1, 1, 1]
    threads, loops = zip(*default.union(*of_groups), strict=True)
    assert len(set(threads)) == len(set(loops)) == 3
    # Calls of a named group wait, and are cancelled, as those of the default one.
    assert ray.get(actor.wait_for_task.remote(), timeout=60) in threads
    sleeping = [actor.sleep.remote() for _ in range(3)]
    for ref in sleeping:
        ray.cancel(ref)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref, timeout=60)


def test_max_concurrency_limits_them() -> None:
    meeting = Meeting.options(max_concurrency=2).remote()
    assert max(ray.get([meeting.stay.remote(0.02) for _ in range(8)], timeout=30)) == 2


def test_the_constructor_may_use_the_loop_and_be_async() -> None:
    @ray.remote(num_cpus=0)
    class Late:
        async def __init__(self, value: int) -> None:
            await asyncio.sleep(0.01)
            self.value = value

        async def get(self) -> int:
            return self.value

    assert ray.get(Late.remote(7).get.remote(), timeout=20) == 7


def test_references_are_awaited() -> None:
    @ray.remote(num_cpus=0)
    class Waiter:
        async def awaits(self) -> Any:
            one = await late.remote(1)
            several = await asyncio.gather(*[late.remote(n) for n in range(3)])
            done, pending = await asyncio.wait([late.remote("a"), late.remote("b")])
            wrapped = await asyncio.wrap_future(late.remote(5).future())
            return one, several, len(done), len(pending), wrapped

        async def fails(self) -> str:
            try:
                await fail.remote()
            except KeyError as error:
                return repr(error.args)
            return "no error"

        async def large(self, ref: list[Any]) -> int:
            return int((await ref[0]).sum())

    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    waiter = Waiter.remote()
    assert ray.get(waiter.awaits.remote(), timeout=30) == (1, [0, 1, 2], 2, 0, 5)
    assert "k" in ray.get(waiter.fails.remote(), timeout=20)
    assert ray.get(waiter.large.remote([ray.put(np.ones(1 << 20, dtype=np.uint8))]), timeout=20) == 1 << 20


def test_large_arguments_and_results_pass() -> None:
    @ray.remote(num_cpus=0)
    class Doubler:
        async def double(self, array: Any) -> Any:
            return array * 2

    doubler = Doubler.remote()
    array = np.ones(300_000, dtype=np.uint8)
    results = ray.get([doubler.double.remote(ray.put(array)) for _ in range(5)], timeout=30)
    assert all((result == 2).all() for result in results)


def test_a_blocking_get_in_the_loop_works_and_new_calls_wait_for_it() -> None:
    @ray.remote(num_cpus=0)
    class Blocking:
        def __init__(self) -> None:
            self.order: list[str] = []

        async def block(self) -> int:
            value: int = ray.get(late.remote(3, 0.2))
            self.order.append("blocked")
            return value

        async def other(self) -> list[str]:
            self.order.append("other")
            return self.order

    blocking = Blocking.remote()
    first = blocking.block.remote()
    assert ray.get(blocking.other.remote(), timeout=20) == ["blocked", "other"]
    assert ray.get(first) == 3


def test_a_late_argument_holds_up_no_other_call(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    class Adder:
        def __init__(self) -> None:
            self.value = 0

        async def add(self, amount: int) -> int:
            self.value += amount
            return self.value

    adder, gate = Adder.remote(), Gate(tmp_path)
    first, second = adder.add.remote(gated.remote(1, gate)), adder.add.remote(2)
    assert ray.get(second, timeout=20) == 2
    gate.open()
    assert ray.get(first, timeout=20) == 3


def test_what_one_call_sets_in_its_context_no_other_sees() -> None:
    @ray.remote(num_cpus=0)
    class Contexts:
        def __init__(self) -> None:
            import contextvars

            self.variable: Any = contextvars.ContextVar("mine", default="unset")

        async def set_and_read(self, value: str) -> tuple[str, str, str]:
            before = self.variable.get()
            self.variable.set(value)
            own = ray.get_runtime_context().get_task_id()
            await asyncio.sleep(0.02)
            nested = await asyncio.create_task(self.read())
            assert own == ray.get_runtime_context().get_task_id() == nested
            return before, self.variable.get(), own

        async def read(self) -> str:
            return str(ray.get_runtime_context().get_task_id())

    contexts = Contexts.options(max_concurrency=4).remote()
    results = ray.get([contexts.set_and_read.remote(str(n)) for n in range(12)], timeout=20)
    assert [result[:2] for result in results] == [("unset", str(n)) for n in range(12)]
    assert len({result[2] for result in results}) == 12


def test_errors_name_their_own_call() -> None:
    @ray.remote(num_cpus=0)
    class Failing:
        async def fail(self, number: int) -> None:
            await asyncio.sleep(0.01 * (5 - number))
            raise ValueError(f"call {number}")

    failing = Failing.remote()
    for number, ref in enumerate([failing.fail.remote(n) for n in range(5)]):
        with pytest.raises(ValueError, match=f"call {number}"):
            ray.get(ref, timeout=20)


def test_an_async_actor_calls_itself_and_others() -> None:
    @ray.remote(num_cpus=0)
    class Recursive:
        async def count(self, depth: int) -> int:
            if depth == 0:
                return 0
            me = ray.get_runtime_context().current_actor
            return 1 + int(await me.count.remote(depth - 1))

    assert ray.get(Recursive.remote().count.remote(20), timeout=30) == 20


def test_an_idle_async_actor_uses_no_processor_time() -> None:
    @ray.remote(num_cpus=0)
    class Idle:
        async def pid(self) -> int:
            return os.getpid()

        async def times(self) -> float:
            return time.process_time()

    idle = Idle.remote()
    ray.get(idle.pid.remote(), timeout=20)
    before = ray.get(idle.times.remote())
    time.sleep(0.6)
    assert ray.get(idle.times.remote()) - before < 0.1


def test_calls_from_several_drivers_threads_are_all_answered() -> None:
    meeting = Meeting.remote()
    answers: list[Any] = []

    def call() -> None:
        answers.append(ray.get([meeting.stay.remote(0.001) for _ in range(50)], timeout=30))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answers) == 4, "all threads have their answers", 40)
    for thread in threads:
        thread.join()


@ray.remote(num_cpus=0)
class SlowToStore:
    """Its results find room in the arena only once it says so."""

    def __init__(self) -> None:
        arena = current.runtime().arena  # type: ignore[attr-defined]
        self.room = threading.Event()
        self.asked = threading.Event()
        writable = arena.writable

        def wait_for_room(*args: Any) -> Any:
            self.asked.set()
            self.room.wait(30)
            return writable(*args)

        arena.writable = wait_for_room

    async def large(self) -> bytes:
        return b"x" * 1_000_000

    async def is_storing(self) -> bool:
        return self.asked.is_set()

    async def make_room(self) -> None:
        self.room.set()


def test_a_large_result_that_waits_for_room_holds_up_no_other_call() -> None:
    actor = SlowToStore.remote()
    large = actor.large.remote()
    wait_for(lambda: ray.get(actor.is_storing.remote(), timeout=20), "the result is being stored")
    # Its code has ended, so there is nothing to interrupt any more.
    ray.cancel(large)
    ray.get(actor.make_room.remote(), timeout=20)
    assert ray.get(large, timeout=20) == b"x" * 1_000_000


def test_a_large_result_that_finds_no_room_is_an_error_of_its_call() -> None:
    @ray.remote(num_cpus=0)
    class Greedy:
        async def too_large(self) -> Any:
            return np.zeros(1 << 27)  # 1 GiB

        async def small(self) -> int:
            return 1

    actor = Greedy.remote()
    with pytest.raises(ray.exceptions.ObjectStoreFullError):
        ray.get(actor.too_large.remote(), timeout=60)
    assert ray.get(actor.small.remote(), timeout=20) == 1


@pytest.mark.parametrize("kind", ["async", "threaded"])
def test_calls_that_wait_do_not_fill_the_actor(kind: str) -> None:
    class Counting:
        def __init__(self) -> None:
            self.opened = threading.Event()

        def waiting(self) -> int:
            lane = current.runtime().executor.lane  # type: ignore[attr-defined]
            return len(list(lane._groups.waiting()))

        def open(self) -> None:
            self.opened.set()

    class Threaded(Counting):
        def work(self, number: int) -> int:
            self.opened.wait(60)
            return number

    class Async(Counting):
        async def work(self, number: int) -> int:
            if not self.opened.is_set():
                await asyncio.to_thread(self.opened.wait, 60)
            return number

    cls = {"async": Async, "threaded": Threaded}[kind]
    groups = {"health": 2}
    actor = ray.remote(num_cpus=0, max_concurrency=2, concurrency_groups=groups)(cls).remote()
    count = 20_000
    refs = [actor.work.remote(number) for number in range(count)]
    health = actor.waiting.options(concurrency_group="health")
    wait_for(lambda: ray.get(health.remote(), timeout=20) == WINDOW - 2, "the actor has what it is given at most")
    ray.get(actor.open.options(concurrency_group="health").remote(), timeout=20)
    assert ray.get(refs, timeout=60) == list(range(count))
