"""Generators in tasks and actors: items as they are yielded, errors, limits, drops, deaths; nothing of them stays."""

import asyncio
import gc
import os
import pickle
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray._runtime.values.wire import item_id
from ray.exceptions import ActorDiedError, GetTimeoutError, RayTaskError, TaskCancelledError, WorkerCrashedError

from tests.integration.conditions import wait_for
from tests.integration.runtime.conftest import MIB
from tests.integration.runtime.test_reference_counting import described, used

pytestmark = pytest.mark.usefixtures("session")


def runtime() -> Any:
    from ray._runtime import current

    return current.runtime()


@pytest.fixture(autouse=True)
def _nothing_stays(session: Any) -> Any:
    gc.collect()
    runtime().drops.settle()
    objects, bytes_used = len(runtime().objects), used()
    yield
    gc.collect()
    wait_for(lambda: len(runtime().generators) == 0, "all streams are closed")
    wait_for(lambda: len(runtime().objects) <= objects, "the objects of the test are forgotten")
    wait_for(lambda: used() <= bytes_used, f"used bytes come back to {bytes_used}: {described()}")


@ray.remote
def count(number: int, fails_at: int = -1) -> Iterator[int]:
    for i in range(number):
        if i == fails_at:
            raise ValueError(f"at {i}")
        yield i


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def get(self) -> int:
        return self.value

    def up_to(self, number: int) -> Iterator[int]:
        yield from range(number)

    def for_ever(self) -> Iterator[int]:
        try:
            while True:
                self.value += 1
                yield self.value
        finally:
            self.value = -1

    def die_after(self, number: int) -> Iterator[int]:
        yield from range(number)
        wait_for(lambda: self.value, "told to die")
        os._exit(1)


@ray.remote
class Async:
    def __init__(self) -> None:
        self.closed = 0
        self.gate = asyncio.Event()

    async def up_to(self, number: int) -> AsyncIterator[int]:
        for i in range(number):
            yield i

    async def gated(self, number: int) -> AsyncIterator[int]:
        for i in range(number):
            if i == 1:
                await self.gate.wait()
            yield i

    async def open(self) -> None:
        self.gate.set()

    def plainly(self, number: int) -> Iterator[int]:
        yield from range(number)

    async def for_ever(self) -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            self.closed += 1

    async def failing(self) -> AsyncIterator[int]:
        yield 1
        raise KeyError("after 1")

    async def get_closed(self) -> int:
        return self.closed


def read(generator: Any) -> list[Any]:
    return [ray.get(ref, timeout=20) for ref in generator]


def test_items_come_in_order_and_then_the_end() -> None:
    generator = count.remote(300)
    assert isinstance(generator, ray.ObjectRefGenerator)
    assert read(generator) == list(range(300))
    with pytest.raises(StopIteration):
        next(generator)
    assert generator.is_finished() and not generator.next_ready()
    assert ray.get(generator.completed()) is None
    assert read(count.remote(0)) == []


def test_an_item_is_there_before_the_generator_goes_on(tmp_path: Path) -> None:
    @ray.remote
    def gated(path: str) -> Iterator[int]:
        yield 1
        wait_for(lambda: os.path.exists(path), path)
        yield 2

    generator = gated.remote(str(tmp_path / "gate"))
    assert ray.get(next(generator)) == 1
    assert not generator.next_ready() and not generator.is_finished()
    assert generator._next_sync(0.01).is_nil()
    assert ray.wait([generator], timeout=0.01) == ([], [generator])
    with pytest.raises(GetTimeoutError):
        ray.get(generator.completed(), timeout=0.01)
    (tmp_path / "gate").touch()
    assert ray.wait([generator], timeout=20) == ([generator], [])
    assert ray.get(next(generator)) == 2


def test_wait_takes_generators_among_refs() -> None:
    generator, ref = count.remote(1), ray.put(1)
    assert ray.wait([ref, generator], num_returns=2, timeout=20) == ([ref, generator], [])
    next(generator)
    assert ray.wait([generator], timeout=20) == ([generator], [])  # the end is an answer too
    with pytest.raises(ValueError, match="duplicates"):
        ray.wait([generator, generator])


def test_an_error_is_the_last_item() -> None:
    generator = count.remote(5, fails_at=2)
    refs = list(generator)
    assert ray.get(refs[:2]) == [0, 1]
    with pytest.raises(ValueError, match="at 2"):
        ray.get(refs[2])
    assert len(refs) == 3 and generator.is_finished()


def test_an_item_that_cannot_be_pickled_is_an_error_and_the_last() -> None:
    @ray.remote
    def unpicklable() -> Iterator[Any]:
        yield 1
        yield threading.Lock()
        yield 2

    first, failed = unpicklable.remote()
    assert ray.get(first) == 1
    with pytest.raises(TypeError, match=r"pickle|serialize"):
        ray.get(failed)


def test_a_generator_stays_where_it_was_called() -> None:
    generator = count.remote(1)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(generator)
    with pytest.raises(TypeError, match="cannot be pickled"):
        count.remote(generator)
    assert ray.get(generator) is generator
    for refused in (lambda: generator.send(1), lambda: generator.throw(KeyError()), generator.close):
        with pytest.raises(NotImplementedError):
            refused()
    assert read(generator) == [0]


def test_large_items_go_to_the_arena_and_leave_it() -> None:
    @ray.remote
    def arrays(number: int) -> Iterator[Any]:
        for i in range(number):
            yield np.full(MIB, i, dtype="uint8")

    before = used()
    for i, ref in enumerate(arrays.remote(20)):
        assert int(ray.get(ref)[-1]) == i
        del ref
    wait_for(lambda: used() <= before, "what was read and dropped is freed")
    assert [int(array[0]) for array in read(arrays.remote(5))] == [0, 1, 2, 3, 4]


def test_refs_inside_items_live_as_long_as_the_items(tmp_path: Path) -> None:
    other = Counter.remote()

    @ray.remote
    def refs(lent: list[Any], other: Any) -> Iterator[Any]:
        yield [ray.put(np.full(MIB, 1, dtype="uint8"))]  # the worker's
        yield lent  # the caller's
        yield [other.add.remote()]  # the worker's, made by another
        yield {"nested": [ray.put(4), lent]}

    lent = ray.put(np.full(MIB, 2, dtype="uint8"))
    generator = refs.remote([lent], other)
    del lent
    items = list(generator)
    del generator
    assert int(ray.get(ray.get(items[0])[0])[0]) == 1
    assert int(ray.get(ray.get(items[1])[0])[0]) == 2
    assert ray.get(ray.get(items[2])[0]) == 1
    nested = ray.get(items[3])["nested"]
    assert ray.get(nested[0]) == 4
    assert int(ray.get(nested[1][0])[0]) == 2


def test_refs_of_a_third_process_are_held_before_their_item_leaves() -> None:
    @ray.remote
    class Owner:
        def make(self) -> list[Any]:
            return [ray.put(np.full(MIB, 7, dtype="uint8"))]

    @ray.remote
    def pass_on(owner: Any) -> Iterator[Any]:
        for _ in range(5):
            yield ray.get(owner.make.remote())
        yield "end"

    owner = Owner.remote()
    items = read(pass_on.remote(owner))
    assert [int(ray.get(refs[0])[0]) for refs in items[:5]] == [7] * 5
    assert items[5] == "end"


def test_a_worker_is_no_further_ahead_than_the_limit() -> None:
    counter = Counter.remote()

    @ray.remote(_generator_backpressure_num_objects=2)
    def limited(counter: Any, number: int) -> Iterator[int]:
        for _ in range(number):
            yield ray.get(counter.add.remote())

    generator = limited.remote(counter, 20)
    wait_for(lambda: ray.get(counter.get.remote()) == 2, "two are made")
    for expected in range(1, 21):
        made = ray.get(counter.get.remote())
        assert made <= expected + 1
        assert ray.get(next(generator)) == expected
    with pytest.raises(StopIteration):
        next(generator)


def test_a_waiting_generator_lends_its_cpu() -> None:
    @ray.remote(num_cpus=4, _generator_backpressure_num_objects=1)
    def whole_machine() -> Iterator[int]:
        yield 1
        yield 2

    @ray.remote(num_cpus=4)
    def other() -> int:
        return 3

    generator = whole_machine.remote()
    ray.wait([generator], timeout=20)
    assert ray.get(other.remote(), timeout=20) == 3
    assert read(generator) == [1, 2]


def test_many_items_need_no_limit() -> None:
    assert sum(ray.get(list(count.remote(5000)))) == sum(range(5000))


def test_a_dropped_generator_stops_and_frees_what_was_not_read() -> None:
    @ray.remote
    def arrays(path: str) -> Iterator[Any]:
        try:
            while True:
                yield np.zeros(MIB, dtype="uint8")
        finally:
            Path(path).touch()

    before = used()
    path = f"/tmp/generator_test_{os.getpid()}"
    generator = arrays.options(_generator_backpressure_num_objects=10).remote(path)
    kept = next(generator)
    wait_for(lambda: used() >= before + 8 * MIB, "it goes on")
    del generator
    try:
        wait_for(lambda: os.path.exists(path), "the generator is closed")
    finally:
        Path(path).unlink(missing_ok=True)
    assert len(ray.get(kept)) == MIB
    wait_for(lambda: used() <= before + 2 * MIB, "what was not read is freed")


def test_a_generator_that_is_dropped_before_it_starts_or_never_read_leaves_nothing() -> None:
    for _ in range(20):
        count.remote(5)
    generators = [count.remote(5) for _ in range(20)]
    ray.wait([generator.completed() for generator in generators], num_returns=20, timeout=20)
    del generators


@pytest.mark.parametrize("how", ["method", "options"])
def test_a_dropped_actor_s_generator_is_closed_and_the_actor_serves_on(how: str) -> None:
    counter = Counter.remote()
    method = counter.for_ever if how == "method" else counter.for_ever.options(_generator_backpressure_num_objects=3)
    generator = method.remote()
    assert ray.get(next(generator)) == 1
    del generator
    wait_for(lambda: ray.get(counter.get.remote(), timeout=20) == -1, "its finally block has run")


def test_an_actor_s_generator_ends_with_its_caller() -> None:
    counter = Counter.remote()

    @ray.remote(max_retries=0)
    def call_and_die(counter: Any) -> None:
        generator = counter.for_ever.options(_generator_backpressure_num_objects=3).remote()
        next(generator)
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(call_and_die.remote(counter))
    wait_for(lambda: ray.get(counter.get.remote(), timeout=20) == -1, "its finally block has run")


def test_a_generator_s_actor_call_is_ordered_with_the_others() -> None:
    counter = Counter.remote()
    counter.add.remote()
    generator = counter.up_to.remote(3)
    later = counter.add.remote()
    assert read(generator) == [0, 1, 2]
    assert ray.get(later) == 2


def test_a_dead_worker_s_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    @ray.remote(max_retries=1)
    def dying(path: str) -> Iterator[Any]:
        for i in range(6):
            if i == 3 and not os.path.exists(path):
                wait_for(lambda: os.path.exists(path + ".read"), "three are read")
                Path(path).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield (i, os.getpid(), np.full(MIB // 4, i, dtype="uint8"))

    generator = dying.remote(str(tmp_path / "died"))
    items = [ray.get(next(generator)) for _ in range(3)]
    (tmp_path / "died.read").touch()
    items += read(generator)
    assert [i for i, _, _ in items] == [0, 1, 2, 3, 4, 5]
    assert len({pid for _, pid, _ in items}) == 2
    assert all(array[0] == i for i, _, array in items)


def test_without_retries_a_death_is_the_last_item() -> None:
    @ray.remote(max_retries=0)
    def dying() -> Iterator[int]:
        yield 1
        os._exit(1)

    generator = dying.remote()
    first, last = generator
    assert ray.get(first) == 1
    with pytest.raises(WorkerCrashedError):
        ray.get(last)
    with pytest.raises(WorkerCrashedError):
        ray.get(generator.completed())


def test_an_error_that_is_retried_is_not_an_item(tmp_path: Path) -> None:
    @ray.remote(max_retries=2, retry_exceptions=[ValueError])
    def failing(path: str) -> Iterator[int]:
        for i in range(4):
            if i == 2 and not os.path.exists(path):
                Path(path).touch()
                raise ValueError("once")
            yield i

    assert read(failing.remote(str(tmp_path / "failed"))) == [0, 1, 2, 3]


def test_an_attempt_that_makes_fewer_items_takes_none_back(tmp_path: Path) -> None:
    @ray.remote(max_retries=1)
    def shorter(path: str) -> Iterator[int]:
        yield 0
        if not os.path.exists(path):
            yield 1
            wait_for(lambda: os.path.exists(path + ".read"), "both are read")
            Path(path).touch()
            os._exit(1)

    generator = shorter.remote(str(tmp_path / "died"))
    assert [ray.get(next(generator)), ray.get(next(generator))] == [0, 1]
    (tmp_path / "died.read").touch()
    with pytest.raises(StopIteration):
        next(generator)


def test_a_dead_actor_is_the_last_item_and_a_restarted_one_goes_on() -> None:
    counter = Counter.remote()
    generator = counter.die_after.remote(2)
    assert [ray.get(next(generator)), ray.get(next(generator))] == [0, 1]
    ray.kill(counter)
    with pytest.raises(ActorDiedError):
        ray.get(next(generator))
    with pytest.raises(StopIteration):
        next(generator)

    counter = Counter.options(max_restarts=1, max_task_retries=1).remote()
    assert ray.get(counter.get.remote()) == 0
    generator = counter.up_to.options(_generator_backpressure_num_objects=2).remote(5)
    assert [ray.get(next(generator)), ray.get(next(generator))] == [0, 1]
    ray.kill(counter, no_restart=False)
    assert read(generator) == [2, 3, 4]


def test_a_running_generator_can_be_cancelled() -> None:
    @ray.remote
    def endless() -> Iterator[int]:
        while True:
            yield 1

    generator = endless.remote()
    next(generator)
    ray.cancel(generator)
    with pytest.raises((TaskCancelledError, RayTaskError), match="cancelled"):
        read(generator)
    with pytest.raises(StopIteration):
        next(generator)
    limited = endless.options(_generator_backpressure_num_objects=1).remote()
    next(limited)
    ray.cancel(limited)
    with pytest.raises((TaskCancelledError, RayTaskError), match="cancelled"):
        read(limited)


def test_dynamic_gives_all_refs_at_once() -> None:
    ref = count.options(num_returns="dynamic").remote(3)
    assert isinstance(ref, ray.ObjectRef)
    items = ray.get(ref)
    assert len(items) == 3
    assert read(items) == [0, 1, 2]

    @ray.remote
    def total(items: Any) -> int:
        return int(sum(ray.get(list(items))))

    assert ray.get(total.remote(ref)) == 3
    failing = ray.get(count.options(num_returns="dynamic").remote(3, fails_at=1))
    first, last = failing
    assert ray.get(first) == 0
    with pytest.raises(ValueError, match="at 1"):
        ray.get(last)
    counter = Counter.remote()
    assert read(ray.get(counter.up_to.options(num_returns="dynamic").remote(2))) == [0, 1]
    assert read(ray.get(count.options(num_returns="dynamic").remote(1000))) == list(range(1000))


def test_a_number_of_returns_takes_that_many_items() -> None:
    assert ray.get(count.options(num_returns=2).remote(2)) == [0, 1]
    assert ray.get(count.options(num_returns=1).remote(3)) == 0
    assert ray.get(count.options(num_returns=2).remote(5, fails_at=3)) == [0, 1]
    with pytest.raises(ValueError, match="num_returns=3"):
        ray.get(count.options(num_returns=3).remote(2))
    for word in ("streaming", "dynamic"):
        with pytest.raises(ValueError, match="generator function"):
            ray.remote(num_returns=word)(len)
        with pytest.raises(ValueError, match="generator function"):
            Counter.remote().get.options(num_returns=word)


def test_a_generator_with_a_number_of_returns_leaves_what_it_made_and_errors_for_the_rest(tmp_path: Path) -> None:
    def outcomes(refs: list[Any]) -> list[Any]:
        found: list[Any] = []
        for ref in refs:
            try:
                found.append(ray.get(ref, timeout=30))
            except Exception as error:
                found.append(f"{type(error).__name__}: {error.cause}")  # type: ignore[attr-defined]
        return found

    late, short = (
        "RayTaskError(ValueError): at 2",
        "RayTaskError(ValueError): Task returned 2 objects, but num_returns=4.",
    )
    assert outcomes(count.options(num_returns=4).remote(9, fails_at=2)) == [0, 1, late, late]
    assert outcomes(count.options(num_returns=4).remote(2)) == [0, 1, short, short]
    assert outcomes(count.options(num_returns=2).remote(9, fails_at=0)) == ["RayTaskError(ValueError): at 0"] * 2
    counter = Counter.remote()
    assert outcomes(counter.up_to.options(num_returns=4).remote(2)) == [0, 1, short, short]

    @ray.remote(num_returns=3)
    def unpicklable() -> Iterator[Any]:
        yield np.zeros(1 << 20, dtype="uint8")
        yield threading.Lock()
        yield 3

    array, *errors = outcomes(unpicklable.remote())
    assert len(array) == 1 << 20 and all("TypeError" in error for error in errors)

    @ray.remote(num_returns=3, retry_exceptions=[ValueError], max_retries=1)
    def second_time_well(path: str) -> Iterator[Any]:
        yield np.ones(1 << 20, dtype="uint8")
        if not os.path.exists(path):
            Path(path).touch()
            raise ValueError("first time")
        yield 2
        yield 3

    array, *rest = outcomes(second_time_well.remote(str(tmp_path / "ran")))
    assert int(array[-1]) == 1 and rest == [2, 3]


def test_a_yield_of_a_streaming_generator_tells_how_long_its_item_took() -> None:
    class Teller:
        def items(self) -> Iterator[Any]:
            stats = yield np.zeros(1 << 20, dtype="uint8")
            yield type(stats).__name__, stats.object_creation_dur_s
            yield type((yield 0)).__name__
            yield from (yield from self.delegated())

        def delegated(self) -> Iterator[Any]:
            stats = yield 1
            return [type(stats).__name__, 2]

        async def async_items(self) -> AsyncIterator[Any]:
            stats = yield np.zeros(1 << 20, dtype="uint8")
            yield type(stats).__name__, stats.object_creation_dur_s

    @ray.remote
    def items() -> Iterator[Any]:
        stats = yield np.zeros(1 << 20, dtype="uint8")
        yield type(stats).__name__, stats.object_creation_dur_s

    @ray.remote(num_returns="dynamic")
    def dynamic() -> Iterator[Any]:
        yield (yield 0)

    actor = ray.remote(Teller).remote()
    for generator in (items.remote(), actor.async_items.remote()):
        name, took_s = ray.get(list(generator)[1], timeout=30)
        assert name == "StreamingGeneratorStats" and took_s > 0
    assert [ray.get(ref, timeout=30) for ref in list(actor.items.remote())[2:]] == [0, name, 1, name, 2]
    assert read(ray.get(dynamic.remote(), timeout=30)) == [0, None]


def test_a_worker_calls_generators_too() -> None:
    @ray.remote
    def consume(number: int) -> int:
        return sum(ray.get(ref) for ref in count.remote(number))

    assert ray.get(consume.remote(100)) == sum(range(100))


async def test_async_iteration() -> None:
    items = []
    generator = count.remote(5, fails_at=3)
    async for ref in generator:
        try:
            items.append(await ref)
        except ValueError as error:
            items.append(str(error)[-4:])
    assert items == [0, 1, 2, "at 3"]
    with pytest.raises(StopAsyncIteration):
        await anext(generator)


async def test_waiting_for_an_item_leaves_the_loop_free() -> None:
    actor = Async.remote()
    generator = actor.gated.remote(3)
    assert await (await anext(generator)) == 0
    waiting = asyncio.ensure_future(anext(generator))
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    assert (await generator._next_async(0.01)).is_nil()
    await actor.open.remote()
    assert await (await waiting) == 1
    assert [await ref async for ref in generator] == [2]


def test_async_actors_generate_side_by_side() -> None:
    actor = Async.remote()
    held_up = actor.gated.remote(3)
    assert ray.get(next(held_up)) == 0
    assert read(actor.up_to.remote(200)) == list(range(200))
    assert read(actor.plainly.remote(5)) == [0, 1, 2, 3, 4]
    actor.open.remote()
    assert read(held_up) == [1, 2]
    first, failed = actor.failing.remote()
    assert ray.get(first) == 1
    with pytest.raises(KeyError, match="after 1"):
        ray.get(failed)


def test_async_generators_end_when_dropped_or_cancelled() -> None:
    actor = Async.remote()
    dropped = actor.for_ever.options(_generator_backpressure_num_objects=4).remote()
    next(dropped)
    del dropped
    wait_for(lambda: ray.get(actor.get_closed.remote(), timeout=20) == 1, "it is closed")
    cancelled = actor.for_ever.remote()
    next(cancelled)
    ray.cancel(cancelled)
    with pytest.raises((TaskCancelledError, RayTaskError), match="cancelled"):
        read(cancelled)
    wait_for(lambda: ray.get(actor.get_closed.remote(), timeout=20) == 2, "it is closed")


@ray.remote
class HeldUp:
    """Its items go into the arena only once it is released."""

    def __init__(self) -> None:
        from ray._runtime.execution import item_sender

        self.gate = threading.Event()
        self.storing = asyncio.Event()
        loop = asyncio.get_running_loop()
        store_all = item_sender.store_all

        def held_up(*args: Any) -> None:
            loop.call_soon_threadsafe(self.storing.set)
            self.gate.wait(60)
            store_all(*args)

        item_sender.store_all = held_up

    async def arrays(self) -> AsyncIterator[Any]:
        for i in range(3):
            yield np.full(MIB, i, dtype="uint8")

    async def begun(self) -> None:
        await self.storing.wait()

    async def release(self) -> None:
        self.gate.set()


def test_a_large_item_that_waits_for_the_arena_leaves_the_loop_to_other_calls() -> None:
    actor = HeldUp.remote()
    generator = actor.arrays.remote()
    ray.get(actor.begun.remote(), timeout=20)
    ray.get(actor.release.remote(), timeout=20)
    assert [int(array[-1]) for array in read(generator)] == [0, 1, 2]


def test_a_cancel_waits_for_a_large_item_that_is_being_stored() -> None:
    actor = HeldUp.remote()
    generator = actor.arrays.remote()
    ray.get(actor.begun.remote(), timeout=20)
    ray.cancel(generator)
    ray.get(actor.release.remote(), timeout=20)
    assert ray.get(next(generator), timeout=20)[-1] == 0
    with pytest.raises((TaskCancelledError, RayTaskError), match="cancelled"):
        read(generator)


def test_a_cancel_while_a_large_item_is_stored_ends_a_generator_whose_reader_waits_for_its_end() -> None:
    actor = HeldUp.remote()
    generator = actor.arrays.options(_generator_backpressure_num_objects=1).remote()
    ray.get(actor.begun.remote(), timeout=20)
    ray.cancel(generator)
    ray.get(actor.release.remote(), timeout=20)
    ray.get(generator.completed(), timeout=20)


def test_threaded_actors_generate_side_by_side() -> None:
    counter = Counter.options(max_concurrency=3, _actor_generator_backpressure_num_objects=2).remote()
    endless = counter.for_ever.remote()
    assert ray.get(next(endless)) == 1
    assert read(counter.up_to.remote(50)) == list(range(50))
    assert ray.get(counter.get.remote()) <= 3
    del endless
    wait_for(lambda: ray.get(counter.get.remote(), timeout=20) == -1, "it is closed")


@pytest.mark.soak
def test_generators_and_deaths_for_long(tmp_path: Path) -> None:
    @ray.remote(max_retries=-1)
    def killed(number: int, odds: int) -> Iterator[int]:
        for i in range(number):
            if int.from_bytes(os.urandom(2), "big") % odds == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield i

    for _ in range(60):
        generators = [killed.remote(100, 300) for _ in range(4)]
        for generator in generators:
            assert read(generator) == list(range(100))


def test_large_items_are_pinned_ahead_of_their_reader_and_go_with_the_generator() -> None:
    @ray.remote
    def arrays(number: int) -> Iterator[Any]:
        for i in range(number):
            yield np.full(MIB, i, dtype="uint8")

    items = arrays.remote(12)
    ray.get(items.completed())
    first = next(items)
    task_id = first._id[:24]
    mapping = runtime().arena._connected().mapping

    def ahead() -> list[int]:
        return [i for i in range(1, 12) if mapping.find(item_id(task_id, i)) is not None]

    assert ray.get(first)[0] == 0
    wait_for(lambda: ahead() == [1, 2, 3, 4], f"four items are here, not {ahead()}")
    for i in range(1, 4):
        assert ray.get(next(items))[-1] == i
    wait_for(lambda: {4, 5, 6} <= set(ahead()), f"those behind follow, not {ahead()}")
    del items, first
    wait_for(lambda: not ahead(), "they go with the generator")
