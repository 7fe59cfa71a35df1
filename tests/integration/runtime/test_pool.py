"""multiprocessing.Pool and joblib on actors: the same results and errors, and processes that end when they should."""

import itertools
import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.joblib import register_ray
from ray.util.multiprocessing import Pool, TimeoutError
from ray.util.multiprocessing.pool import PoolTaskError

from tests.integration.conditions import wait_for


def square(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    return x * x


def wait_for_file(path: str) -> str:
    wait_for(lambda: os.path.exists(path), path)
    return path


@pytest.fixture(scope="module")
def shared(session: Any) -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


def test_map_keeps_the_order(shared: Pool) -> None:
    assert shared.map(square, range(3, 40)) == [x * x for x in range(3, 40)]
    assert shared.map(square, iter([3, 4]), chunksize=1) == [9, 16]
    assert shared.map(square, []) == []


def test_map_raises_what_the_first_call_that_failed_raised(shared: Pool) -> None:
    with pytest.raises(ValueError, match="two"):
        shared.map(square, [1, 2, 3])


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunk_has_at_least_one_call(shared: Pool, chunksize: int) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        shared.map(square, [1], chunksize)
    with pytest.raises(ValueError, match="chunksize"):
        shared.imap(square, [1], chunksize)


def test_starmap_unpacks(shared: Pool) -> None:
    assert shared.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert shared.starmap_async(pow, [(2, 5)]).get() == [32]
    with pytest.raises(TypeError, match="iterable"):
        shared.starmap(pow, [(2, 3), 3])


def test_apply_takes_keywords_and_raises(shared: Pool) -> None:
    assert shared.apply(int, ("11",), {"base": 2}) == 3
    with pytest.raises(ValueError, match="two"):
        shared.apply(square, (2,))


def test_a_lambda_and_a_remote_function_can_be_mapped(shared: Pool) -> None:
    remote = ray.remote(num_cpus=0.5)(square)
    assert shared.map(lambda x: x + 1, [1, 2]) == [2, 3]
    assert shared.map(remote, [1, 3]) == [1, 9]
    with pytest.raises(ValueError, match="two"):
        shared.map(remote, [1, 2])


def test_an_async_result_says_when_it_is_ready(shared: Pool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result = shared.apply_async(wait_for_file, (str(gate),))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.01)
    result.wait(0.01)
    gate.touch()
    assert result.get() == str(gate)
    assert result.ready() and result.successful()
    failed = shared.map_async(square, [1, 2])
    failed.wait()
    assert not failed.successful()


def test_callbacks_get_the_result_or_the_error(shared: Pool) -> None:
    results: queue.Queue[Any] = queue.Queue()
    shared.map_async(square, [1, 3], callback=results.put, error_callback=results.put)
    assert results.get(timeout=20) == [1, 9]
    shared.apply_async(square, (3,), callback=results.put, error_callback=results.put)
    assert results.get(timeout=20) == 9
    shared.apply_async(square, (2,), callback=results.put, error_callback=results.put)
    error = results.get(timeout=20)
    assert isinstance(error, PoolTaskError) and isinstance(error.underlying, ValueError)


@pytest.mark.parametrize("chunksize", [1, 2, None])
def test_imap_goes_on_behind_an_error(shared: Pool, chunksize: int | None) -> None:
    results = list(shared.imap(square, [1, 2, 3, 4], chunksize))
    assert isinstance(results[1], PoolTaskError) and isinstance(results[1].underlying, ValueError)
    assert [results[0], *results[2:]] == [1, 9, 16]


def test_imap_reads_no_further_ahead_than_it_has_processes(shared: Pool) -> None:
    read = itertools.count()
    results = shared.imap(square, (next(read) + 3 for _ in itertools.count()))
    assert [next(results) for _ in range(5)] == [9, 16, 25, 36, 49]
    assert next(read) <= 8


def test_imap_keeps_the_order_and_imap_unordered_does_not_wait_for_it(shared: Pool, tmp_path: Path) -> None:
    late, early = str(tmp_path / "late"), str(tmp_path / "early")
    Path(early).touch()
    ordered = shared.imap(wait_for_file, [late, early])
    with pytest.raises(TimeoutError):
        ordered.next(timeout=0.01)
    unordered = shared.imap_unordered(wait_for_file, [late, early])
    Path(late).touch()
    assert list(ordered) == [late, early]
    assert sorted(unordered) == [early, late]
    blocked = str(tmp_path / "blocked")
    unordered = shared.imap_unordered(wait_for_file, [blocked, early])
    assert unordered.next(timeout=20) == early
    with pytest.raises(TimeoutError):
        unordered.next(timeout=0.01)
    Path(blocked).touch()
    assert unordered.next(timeout=20) == blocked
    with pytest.raises(StopIteration):
        unordered.next()


def test_a_closed_pool_takes_no_calls_and_ends_when_it_is_done(session: Any) -> None:
    pool = Pool(1)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(square, [3, 4])
    pool.close()
    pool.join()
    assert result.get() == [9, 16]
    for call in (lambda: pool.map(square, [1]), lambda: pool.apply_async(square, (1,)), lambda: pool.imap(square, [1])):
        with pytest.raises(ValueError, match="not running"):
            call()


def test_leaving_the_context_ends_calls_that_run(session: Any, tmp_path: Path) -> None:
    with Pool(1) as pool:
        result = pool.apply_async(wait_for_file, (str(tmp_path / "never"),))
    pool.join()
    with pytest.raises(ActorDiedError):
        result.get(timeout=20)
    with pytest.raises(ValueError, match="not running"), pool:
        raise AssertionError("not reached")


def test_the_initializer_runs_once_in_each_process_and_processes_are_replaced(session: Any) -> None:
    def initialize(value: int) -> None:
        os.environ["POOL_TEST"] = str(value + int(os.environ.get("POOL_TEST", "0")))

    def look(_: int) -> tuple[str, int]:
        return os.environ["POOL_TEST"], os.getpid()

    with Pool(1, initializer=initialize, initargs=(7,), maxtasksperchild=2) as pool:
        seen = [pool.apply(look, (0,)) for _ in range(4)]
        assert {value for value, _ in seen} == {"7"}
        assert len({pid for _, pid in seen}) == 2
        assert len(set(pool.map(look, range(4), chunksize=1))) == 2


def test_a_process_that_cannot_be_made_or_dies_fails_its_calls(session: Any) -> None:
    with pytest.raises(TypeError, match="initializer"):
        Pool(1, initializer=5)  # type: ignore[arg-type]
    with Pool(1, initializer=square, initargs=(2,)) as pool, pytest.raises(ActorDiedError, match="two"):
        pool.map(square, [1])
    with Pool(1) as pool:
        errors: queue.Queue[Any] = queue.Queue()
        result = pool.map_async(os._exit, [1], error_callback=errors.put)
        assert isinstance(errors.get(timeout=20).underlying, RayError)
        with pytest.raises(ActorDiedError):
            result.get()


@pytest.mark.parametrize("processes", [0, -1, 1000])
def test_a_bad_number_of_processes_is_refused(session: Any, processes: int) -> None:
    with pytest.raises(ValueError, match=r"(?i)processes"):
        Pool(processes)


def test_all_cpus_are_used_and_options_reach_the_actors(session: Any, tmp_path: Path) -> None:
    def meet(_number: int) -> int:
        (tmp_path / str(os.getpid())).touch()
        wait_for(lambda: len(os.listdir(tmp_path)) == 4, "four processes take part")
        return os.getpid()

    with Pool(ray_remote_args={"resources": {"slot": 0.5}}) as pool:
        assert len(set(pool.map(meet, range(32), chunksize=1))) == 4
        wait_for(lambda: ray.available_resources()["slot"] == 1, "the options reach the actors")


# -- joblib


def test_joblib_runs_its_calls_here(session: Any) -> None:
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(square)(x) for x in range(3, 30)) == [x * x for x in range(3, 30)]
        pids = set(joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(20)))
        assert pids and os.getpid() not in pids
        with pytest.raises(ValueError, match="two"):
            joblib.Parallel()(joblib.delayed(square)(x) for x in range(5))
        unordered = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(square)(x) for x in range(3, 10))
        assert sorted(unordered) == [x * x for x in range(3, 10)]


def test_joblib_takes_all_cpus_by_default_and_one_job_runs_in_place(session: Any) -> None:
    register_ray()
    with joblib.parallel_config(backend="ray"):
        assert joblib.effective_n_jobs() == 4
        assert joblib.Parallel(n_jobs=1)([joblib.delayed(os.getpid)()]) == [os.getpid()]
    with joblib.parallel_config(backend="ray", n_jobs=2, ray_remote_args={"resources": {"slot": 1}}):
        assert joblib.Parallel()(joblib.delayed(abs)(x) for x in (-1, -2)) == [1, 2]
