"""put, get and wait, awaiting, futures, and values of every size."""

import asyncio
import concurrent.futures
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import GetTimeoutError

pytestmark = pytest.mark.usefixtures("session")
KIB = 1024


@ray.remote
def value_of(value: Any) -> Any:
    return value


@ray.remote
def wait_for_file(path: str, value: Any = "done") -> Any:
    deadline = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return value


@ray.remote
def fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize(
    "value", [None, 0, "text", b"", b"bytes", [1, [2]], {"a": {1, 2}}, (), 1.5, True, 2**100], ids=repr
)
def test_what_is_put_is_what_one_gets(value: Any) -> None:
    got = ray.get(ray.put(value))
    assert got == value
    assert type(got) is type(value)


def test_get_takes_one_reference_or_a_list() -> None:
    refs = [ray.put(number) for number in range(5)]
    assert ray.get(refs[3]) == 3
    assert ray.get(refs) == [0, 1, 2, 3, 4]
    assert ray.get([refs[1], refs[1]]) == [1, 1]
    assert ray.get([]) == []


@pytest.mark.parametrize("wrong", [1, "text", None, [1], [None], {"a": 1}], ids=repr)
def test_get_refuses_what_is_no_reference(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ray.get(wrong)


def test_put_refuses_a_reference() -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        ray.put(ray.put(1))


def test_a_reference_in_a_put_value_stays_one() -> None:
    inner = ray.put("inner")
    outer = ray.put([inner, {"deep": (inner,)}])
    first, mapping = ray.get(outer)
    assert first == inner == mapping["deep"][0]
    del inner
    assert ray.get(first) == "inner"


def test_get_times_out_and_works_later(tmp_path: Path) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    started = time.monotonic()
    with pytest.raises(GetTimeoutError):
        ray.get(ref, timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 5
    with pytest.raises(TimeoutError):
        ray.get([ray.put(1), ref], timeout=0)
    (tmp_path / "go").touch()
    assert ray.get(ref, timeout=20) == "done"
    assert ray.get(ref, timeout=0) == "done"


def test_get_with_timeout_zero_gives_what_is_there() -> None:
    assert ray.get(ray.put(5), timeout=0) == 5
    assert ray.get(ray.put(np.zeros(1_000_000)), timeout=0).size == 1_000_000
    with pytest.raises(ValueError, match="timeout"):
        ray.get(ray.put(1), timeout=-5)


def test_wait_gives_as_many_as_asked_in_the_given_order(tmp_path: Path) -> None:
    there = [ray.put(1), ray.put(2), ray.put(3)]
    absent = wait_for_file.remote(str(tmp_path / "go"))
    refs = [there[0], absent, there[1], there[2]]
    assert ray.wait(refs) == ([there[0]], [absent, there[1], there[2]])
    assert ray.wait(refs, num_returns=2) == ([there[0], there[1]], [absent, there[2]])
    assert ray.wait(refs, num_returns=3) == (there, [absent])
    assert ray.wait(refs, num_returns=4, timeout=0.1) == (there, [absent])
    assert ray.wait(refs, num_returns=4, timeout=0) == (there, [absent])
    (tmp_path / "go").touch()
    assert ray.wait(refs, num_returns=4, timeout=20) == (refs, [])


def test_wait_times_out_after_the_time_given(tmp_path: Path) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    started = time.monotonic()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])
    assert 0.3 <= time.monotonic() - started < 5
    (tmp_path / "go").touch()
    ray.get(ref)


def test_wait_counts_a_failed_task_as_ready() -> None:
    ref = fail.remote("x")
    assert ray.wait([ref], timeout=20) == ([ref], [])
    with pytest.raises(ValueError, match="x"):
        ray.get(ref)


def test_wait_refuses_duplicates_and_bad_arguments() -> None:
    ref, other = ray.put(1), ray.put(2)
    with pytest.raises(ValueError, match="duplicate"):
        ray.wait([ref, other, ref])
    with pytest.raises(TypeError):
        ray.wait(ref)
    with pytest.raises(TypeError):
        ray.wait([1])
    for count in (0, 3, -1):
        with pytest.raises(ValueError, match="num_returns"):
            ray.wait([ref, other], num_returns=count)
    with pytest.raises(ValueError, match="timeout"):
        ray.wait([ref], timeout=-1)


def test_wait_without_fetching_says_that_large_objects_exist() -> None:
    ref = value_of.remote(np.zeros(500_000))
    assert ray.wait([ref], fetch_local=False, timeout=20) == ([ref], [])


def test_results_can_be_taken_as_they_come() -> None:
    refs = [value_of.remote(number) for number in range(50)]
    taken = []
    while refs:
        ready, refs = ray.wait(refs, timeout=20)
        taken += ray.get(ready)
    assert sorted(taken) == list(range(50))


def test_a_task_waits_for_what_another_will_put(tmp_path: Path) -> None:
    slow = wait_for_file.remote(str(tmp_path / "go"), 5)

    @ray.remote
    def first_ready(refs: list[Any]) -> Any:
        ready, rest = ray.wait(refs, num_returns=1, timeout=20)
        return ray.get(ready[0]), len(rest)

    assert ray.get(first_ready.remote([slow, ray.put(3)])) == (3, 1)
    (tmp_path / "go").touch()


def test_references_are_values_that_compare_and_hash() -> None:
    first, second = ray.put(1), ray.put(1)
    assert first != second
    assert len({first, second, first}) == 2
    assert first.hex() in repr(first)
    assert len(first.binary()) == 28


# ---- asyncio and futures


async def test_a_reference_can_be_awaited() -> None:
    assert await ray.put(3) == 3
    assert await value_of.remote("x") == "x"
    ref = value_of.remote([1])
    assert await ref == [1]
    assert await ref == [1]


async def test_an_error_comes_out_of_await() -> None:
    with pytest.raises(ValueError, match="reason"):
        await fail.remote("reason")


async def test_gather_takes_references() -> None:
    assert await asyncio.gather(*[value_of.remote(number) for number in range(20)]) == list(range(20))
    results = await asyncio.gather(value_of.remote(1), fail.remote("x"), return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], ValueError)


async def test_asyncio_wait_takes_references(tmp_path: Path) -> None:
    slow = wait_for_file.remote(str(tmp_path / "go"))
    done, pending = await asyncio.wait([value_of.remote(1), slow], return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(pending)) == (1, 1)
    (tmp_path / "go").touch()
    done, pending = await asyncio.wait([slow], timeout=20)
    assert (len(done), len(pending)) == (1, 0)


async def test_asyncio_wait_takes_futures_of_references() -> None:
    futures = [asyncio.ensure_future(value_of.remote(number)) for number in range(3)]
    done, pending = await asyncio.wait(futures, timeout=20)
    assert sorted(future.result() for future in done) == [0, 1, 2]
    assert not pending


async def test_wait_for_times_out_and_the_reference_stays_good(tmp_path: Path) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ref, 0.1)
    (tmp_path / "go").touch()
    assert await asyncio.wait_for(ref, 20) == "done"


async def test_awaiting_leaves_the_loop_free(tmp_path: Path) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    waiting = asyncio.ensure_future(ref)
    await asyncio.sleep(0)
    assert not waiting.done()
    (tmp_path / "go").touch()
    assert await waiting == "done"


async def test_many_references_are_awaited_together() -> None:
    assert sum(await asyncio.gather(*[value_of.remote(number) for number in range(500)])) == sum(range(500))


def test_futures_of_references_complete() -> None:
    futures = [value_of.remote(number).future() for number in range(5)]
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    assert sorted(future.result(20) for future in concurrent.futures.as_completed(futures, 20)) == list(range(5))
    failed = fail.remote("reason").future()
    assert isinstance(failed.exception(20), ValueError)
    assert ray.put(np.ones(1_000_000)).future().result(20).sum() == 1_000_000


async def test_a_future_of_a_reference_can_be_wrapped_for_asyncio() -> None:
    assert await asyncio.wrap_future(value_of.remote(4).future()) == 4


# ---- closures


def test_references_captured_by_a_closure_are_references_in_the_task() -> None:
    small, large = ray.put(1), ray.put(np.arange(200_000))

    @ray.remote
    def captured() -> Any:
        return type(small).__name__, ray.get(small), int(ray.get(large).sum())

    expected = ("ObjectRef", 1, int(np.arange(200_000).sum()))
    assert ray.get([captured.remote() for _ in range(4)]) == [expected] * 4


def test_a_captured_reference_lives_on_after_the_driver_dropped_its_own() -> None:
    large = ray.put(np.full(200_000, 7))

    @ray.remote
    def captured() -> int:
        return int(ray.get(large)[0])  # noqa: F821

    assert ray.get(captured.remote()) == 7
    del large
    assert ray.get([captured.remote() for _ in range(3)]) == [7, 7, 7]


def test_a_reference_pickled_by_the_user_works_after_the_original_is_gone() -> None:
    ref = ray.put(np.full(200_000, 3))
    data = pickle.dumps(ref)
    del ref
    assert ray.get(pickle.loads(data))[0] == 3


# ---- sizes


@pytest.mark.parametrize(
    "size",
    [0, 1, 100 * KIB - 600, 100 * KIB - 1, 100 * KIB, 100 * KIB + 1, 100 * KIB + 600, 1024 * KIB, 64 * 1024 * KIB],
)
def test_bytes_of_every_size_around_the_inline_limit(size: int) -> None:
    payload = bytes(bytearray(size)) if size > 1024 * KIB else bytes(number % 251 for number in range(size))
    ref = ray.put(payload)
    assert ray.get(ref) == payload
    assert ray.get(value_of.remote(ref)) == payload

    @ray.remote
    def make(length: int) -> bytes:
        return bytes(number % 251 for number in range(length)) if length <= 1024 * KIB else bytes(length)

    assert ray.get(make.remote(size)) == payload


def test_empty_arrays_and_arrays_without_numbers_travel() -> None:
    for array in (np.empty(0), np.empty((0, 5), dtype="int32"), np.array(["a", None], dtype=object), np.array(5)):
        got = ray.get(value_of.remote(array))
        assert got.dtype == array.dtype and got.shape == array.shape
        assert got.tolist() == array.tolist()


def test_get_from_many_threads() -> None:
    ref = value_of.remote(np.arange(300_000))
    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.append(int(ray.get(ref).sum()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sums == [int(np.arange(300_000).sum())] * 8
