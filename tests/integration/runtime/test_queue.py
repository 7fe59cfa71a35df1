"""ray.util.Queue and ActorPool with real actors: every method, in time and too late."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError
from ray.util import ActorPool
from ray.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def small() -> Any:
    made = Queue(maxsize=2)
    yield made
    made.shutdown(force=True)


def test_a_queue_is_first_in_first_out(small: Queue) -> None:
    small.put(1)
    small.put_nowait(2)
    assert (small.size(), small.qsize(), len(small), small.empty(), small.full()) == (2, 2, 2, False, True)
    assert [small.get(), small.get_nowait()] == [1, 2]
    assert small.empty() and not small.full()


@pytest.mark.parametrize(
    "put", [lambda q: q.put_nowait(3), lambda q: q.put(3, block=False), lambda q: q.put(3, timeout=0.01)]
)
def test_a_full_queue_says_so(small: Queue, put: Callable[[Queue], None]) -> None:
    small.put_nowait_batch([1, 2])
    with pytest.raises(Full) as raised:
        put(small)
    assert type(raised.value) is Full
    assert small.get_nowait_batch(2) == [1, 2]


@pytest.mark.parametrize("get", [lambda q: q.get_nowait(), lambda q: q.get(block=False), lambda q: q.get(timeout=0.01)])
def test_an_empty_queue_says_so(small: Queue, get: Callable[[Queue], Any]) -> None:
    with pytest.raises(Empty) as raised:
        get(small)
    assert type(raised.value) is Empty


def test_a_batch_is_taken_whole_or_not_at_all(small: Queue) -> None:
    with pytest.raises(Full, match="3 items do not fit"):
        small.put_nowait_batch([1, 2, 3])
    assert small.size() == 0
    small.put(1)
    with pytest.raises(Empty, match="2 items were asked for"):
        small.get_nowait_batch(2)
    assert small.get_nowait_batch(0) == []
    assert small.get_nowait_batch(1) == [1]


def test_bad_arguments_are_refused(small: Queue) -> None:
    for call in (lambda: small.put(1, timeout=-1), lambda: small.get(timeout=-1), lambda: small.get_nowait_batch(-1)):
        with pytest.raises(ValueError, match=">= 0"):
            call()
    with pytest.raises(TypeError, match="iterable"):
        small.put_nowait_batch(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int"):
        small.get_nowait_batch("1")  # type: ignore[arg-type]


async def test_a_queue_in_coroutines(small: Queue) -> None:
    waiting = asyncio.ensure_future(small.get_async())
    await small.put_async(1)
    assert await waiting == 1
    for get in (small.get_async(block=False), small.get_async(timeout=0.01)):
        with pytest.raises(Empty):
            await get
    await asyncio.gather(small.put_async(1), small.put_async(2))
    for put in (small.put_async(3, block=False), small.put_async(3, timeout=0.01)):
        with pytest.raises(Full):
            await put
    with pytest.raises(ValueError, match=">= 0"):
        await small.put_async(3, timeout=-1)


def test_tasks_share_a_queue_and_wait_for_one_another(small: Queue) -> None:
    @ray.remote(num_cpus=0.5)
    def produce(queue: Queue, number: int) -> None:
        for i in range(number):
            queue.put(i)

    @ray.remote(num_cpus=0.5)
    def consume(queue: Queue, number: int) -> list[int]:
        return [queue.get() for _ in range(number)]

    consumed = consume.remote(small, 30)
    produce.remote(small, 30)
    assert ray.get(consumed, timeout=30) == list(range(30))


def test_options_reach_the_actor_and_shutdown_ends_it() -> None:
    queue = Queue(actor_options={"name": "a-queue", "num_cpus": 0.5})
    actor = ray.get_actor("a-queue")
    assert not queue.full()
    queue.shutdown()
    queue.shutdown()
    with pytest.raises(RayActorError):
        ray.get(actor.qsize.remote(), timeout=20)


# -- ActorPool


@ray.remote
class Doubler:
    def double(self, value: Any) -> Any:
        if value == "bad":
            raise ValueError("bad value")
        return 2 * value

    async def when_open(self, queue: Queue) -> str:
        return str(await queue.get_async())


def double(actor: Any, value: Any) -> Any:
    return actor.double.remote(value)


@pytest.fixture
def pool() -> ActorPool:
    return ActorPool([Doubler.remote(), Doubler.remote()])


def test_a_pool_maps_in_order_and_out_of_it(pool: ActorPool) -> None:
    assert list(pool.map(double, range(10))) == [2 * value for value in range(10)]
    assert sorted(pool.map_unordered(double, range(10))) == [2 * value for value in range(10)]
    assert not pool.has_next() and pool.has_free()
    for read in (pool.get_next, pool.get_next_unordered):
        with pytest.raises(StopIteration):
            read()


def test_a_pool_raises_what_a_call_raised_and_goes_on(pool: ActorPool) -> None:
    for value in (1, "bad", 3):
        pool.submit(double, value)
    assert pool.get_next() == 2
    with pytest.raises(ValueError, match="bad value"):
        pool.get_next()
    assert pool.get_next() == 6
    with pytest.raises(ValueError, match="bad value"):
        list(pool.map_unordered(double, ["bad"]))


@pytest.mark.parametrize("name", ["get_next", "get_next_unordered"])
def test_a_late_result_can_be_waited_for_again_or_given_up(pool: ActorPool, small: Queue, name: str) -> None:
    read = getattr(pool, name)
    pool.submit(lambda actor, queue: actor.when_open.remote(queue), small)
    with pytest.raises(TimeoutError):
        read(timeout=0.01)
    assert pool.has_next()
    small.put("open")
    assert read(timeout=20) == "open"
    pool.submit(lambda actor, queue: actor.when_open.remote(queue), small)
    with pytest.raises(TimeoutError):
        read(timeout=0.01, ignore_if_timedout=True)
    assert not pool.has_next()


def test_actors_join_and_leave_a_pool(pool: ActorPool) -> None:
    first, second = pool.pop_idle(), pool.pop_idle()
    assert pool.pop_idle() is None and not pool.has_free()
    pool.submit(double, 4)  # waits for an actor
    pool.push(first)
    assert pool.get_next() == 8
    with pytest.raises(ValueError, match="belongs to the pool"):
        pool.push(first)
    pool.push(second)
    assert pool.has_free()
