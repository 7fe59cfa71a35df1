"""ray.util: the actor pool, the queue's actor, and finding what cannot be pickled."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.util import ActorPool, inspect_serializability
from ray.util.queue import Empty, Full, _QueueActor

from tests.unit.client.recording_runtime import RecordingRuntime, recording


class PoolRuntime(RecordingRuntime):
    """Finishes the newest calls first when asked for any."""

    def wait(self, refs: list[ray.ObjectRef], num_returns: int, timeout: Any, fetch_local: bool) -> tuple[Any, Any]:
        return refs[-num_returns:], refs[:-num_returns]

    def get(self, refs: Any, timeout: float | None) -> list[Any]:
        return [self.calls[int.from_bytes(ref.binary(), "big") - 1001].args[0] for ref in refs]


@pytest.fixture
def pool_runtime() -> Iterator[PoolRuntime]:
    with recording(PoolRuntime) as made:
        assert isinstance(made, PoolRuntime)
        yield made


@ray.remote
class Echo:
    def echo(self, value: int) -> int:
        return value


def test_a_pool_gives_results_in_order(pool_runtime: PoolRuntime) -> None:
    pool = ActorPool([Echo.remote(), Echo.remote()])
    assert list(pool.map(lambda actor, value: actor.echo.remote(value), range(5))) == [0, 1, 2, 3, 4]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()


def test_a_pool_gives_results_as_they_come(pool_runtime: PoolRuntime) -> None:
    pool = ActorPool([Echo.remote(), Echo.remote()])
    results = list(pool.map_unordered(lambda actor, value: actor.echo.remote(value), range(5)))
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert results[0] == 1
    assert pool.has_free()


def test_a_pool_keeps_to_its_actors(pool_runtime: PoolRuntime) -> None:
    actors = [Echo.remote(), Echo.remote()]
    pool = ActorPool(actors)
    for value in range(3):
        pool.submit(lambda actor, value: actor.echo.remote(value), value)
    assert len(pool_runtime.calls) == 2
    assert not pool.has_free()
    assert pool.pop_idle() is None
    with pytest.raises(ValueError, match="already"):
        pool.push(actors[0])
    pool.get_next()
    assert len(pool_runtime.calls) == 3
    pool.push(Echo.remote())
    assert pool.pop_idle() is not None
    assert (pool.get_next_unordered(), pool.get_next()) == (2, 1)


def test_the_queues_actor_waits_and_times_out() -> None:
    async def use() -> None:
        items = _QueueActor(2)
        await items.put(1)
        await items.put_nowait(2)
        assert await items.full()
        with pytest.raises(Full):
            await items.put(3, 0.001)
        with pytest.raises(Full):
            await items.put_nowait(3)
        with pytest.raises(Full):
            await items.put_nowait_batch([3])
        assert await items.get_nowait_batch(2) == [1, 2]
        with pytest.raises(Empty):
            await items.get(0.001)
        with pytest.raises(Empty):
            await items.get_nowait_batch(1)
        waiting = asyncio.create_task(items.get())
        await items.put(4)
        assert await waiting == 4

    asyncio.run(use())


def test_what_cannot_be_pickled_is_found_where_it_is() -> None:
    lock = threading.Lock()

    def uses_lock() -> None:
        with lock:
            pass

    shown = io.StringIO()
    serializable, failures = inspect_serializability(uses_lock, print_file=shown)
    assert not serializable
    assert [failure.name for failure in failures] == ["lock"]
    assert "lock" in shown.getvalue()
    assert inspect_serializability([1, 2], print_file=shown) == (True, set())
    unserializable, parts = inspect_serializability({"a": [1, lock]}, print_file=shown)
    assert not unserializable
    assert {part.name for part in parts} == {"[1]"}


def test_this_machines_address_is_one() -> None:
    assert len(ray.util.get_node_ip_address().split(".")) == 4
