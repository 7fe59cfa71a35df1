"""User code that forks: the children have no runtime, and their parents keep theirs."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import ray

pytestmark = pytest.mark.usefixtures("session")


def square(number: int) -> int:
    return number * number


def use_the_api(queue: Any) -> None:
    try:
        queue.put(f"worked: {ray.get(ray.put(1))}")
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


def forked_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(10))


def fork_and_report() -> str:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=use_the_api, args=(queue,))
    process.start()
    text: str = queue.get(timeout=20)
    process.join(20)
    return text


def test_a_driver_may_use_multiprocessing() -> None:
    ref = ray.put([1] * 100_000)
    assert forked_pool() == [number * number for number in range(10)]
    assert len(ray.get(ref)) == 100_000
    assert ray.get(ray.remote(square).remote(5)) == 25


def test_a_task_may_use_multiprocessing() -> None:
    task = ray.remote(forked_pool)
    assert ray.get([task.remote() for _ in range(4)], timeout=60) == [[number * number for number in range(10)]] * 4


def test_the_api_in_a_forked_child_raises_a_clear_error() -> None:
    assert "forked" in fork_and_report()
    assert fork_and_report().startswith("RaySystemError")
    assert "forked" in ray.get(ray.remote(fork_and_report).remote(), timeout=30)
    assert ray.get(ray.put(1)) == 1


def test_a_forked_child_that_drops_references_takes_nothing_from_its_parent() -> None:
    refs = [ray.put(bytes(200_000)) for _ in range(5)]
    actor = ray.remote(Holder).remote()
    child = os.fork()
    if child == 0:
        del refs[:], actor
        import gc

        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [len(value) for value in ray.get(refs)] == [200_000] * 5
    assert ray.get(actor.work.remote()) == 1


class Holder:
    def work(self) -> int:
        return 1


def test_a_forked_child_that_exits_normally_does_not_end_the_session() -> None:
    child = os.fork()
    if child == 0:
        try:
            import atexit

            atexit._run_exitfuncs()  # what an ordinary interpreter exit would run
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ray.get(ray.remote(square).remote(3)) == 9


def test_a_task_may_start_programs() -> None:
    @ray.remote
    def start() -> str:
        return subprocess.run([sys.executable, "-c", "print('out')"], capture_output=True, text=True, check=True).stdout

    assert ray.get(start.remote(), timeout=30) == "out\n"


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork_and_leave(how: str) -> tuple[str, int]:
    """In the parent, how its child ended; the child comes back, in one way or another, to whoever called."""
    child = os.fork()
    if child:
        return "parent", ended(child)
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise ValueError("in the child")
    return "child", 0


STATUSES = {"return": 0, "exit": 3, "raise": 1}


class Forker:
    def method(self, how: str) -> tuple[str, int]:
        return fork_and_leave(how)

    def items(self, how: str) -> Iterator[tuple[str, int]]:
        yield fork_and_leave(how)


class AsyncForker:
    async def method(self, how: str) -> tuple[str, int]:
        return fork_and_leave(how)

    async def items(self, how: str) -> AsyncIterator[tuple[str, int]]:
        yield fork_and_leave(how)

    async def wait_in_child(self) -> tuple[str, int]:
        future = asyncio.get_running_loop().create_future()
        child = os.fork()
        if child:
            return "parent", ended(child)
        await future
        return "child", 0


def test_a_forked_child_that_comes_back_to_the_runtime_ends_there() -> None:
    task = ray.remote(num_cpus=0, max_retries=0)(fork_and_leave)
    plain = ray.remote(num_cpus=0)(Forker)
    actors = [plain.remote(), plain.options(max_concurrency=2).remote(), ray.remote(num_cpus=0)(AsyncForker).remote()]
    for how, status in STATUSES.items():
        wanted = ("parent", status)
        assert ray.get(task.remote(how), timeout=30) == wanted
        for actor in actors:
            assert ray.get(actor.method.remote(how), timeout=30) == wanted
            # Of the other calls that are under way, none is run or answered by the child.
            assert ray.get([actor.method.remote("return") for _ in range(5)], timeout=30) == [("parent", 0)] * 5
            items = actor.items.options(num_returns="streaming").remote(how)
            assert [ray.get(item, timeout=30) for item in items] == [wanted]
    # The loop is the parent's, and the child has nothing to wait for there.
    assert ray.get(actors[2].wait_in_child.remote(), timeout=30) == ("parent", 0)
    assert ray.get(ray.remote(square).remote(4), timeout=30) == 16


def test_a_child_left_by_a_task_does_not_hold_it_up() -> None:
    @ray.remote
    def leave() -> int:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        return child

    child = ray.get(leave.remote(), timeout=20)
    try:
        assert ray.get(ray.remote(square).remote(4), timeout=20) == 16
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_thread_that_forks_while_calls_run_does_no_harm() -> None:
    task = ray.remote(square)
    refs = [task.remote(number) for number in range(200)]
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert ray.get(refs, timeout=30) == [number * number for number in range(200)]
