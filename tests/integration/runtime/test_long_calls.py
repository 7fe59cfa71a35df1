"""Calls that run for long beside others that wait: who reads, who is told, and how a worker ends after one."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")


@ray.remote(num_cpus=0)
class Sleeper:
    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def get_in_a_thread(self, refs: list[Any]) -> None:
        self.thread = threading.Thread(target=ray.get, args=(refs[0],), daemon=True)
        self.thread.start()

    def leave_after(self, seconds: float) -> None:
        time.sleep(seconds)
        ray.actor.exit_actor()


class Carrier(Exception):
    """An error that holds a reference."""

    def __init__(self, ref: Any) -> None:
        super().__init__(ref)
        self.ref = ref


def test_the_result_of_a_long_call_does_not_wait_for_the_next_one() -> None:
    actor = Sleeper.remote()
    ray.get(actor.sleep.remote(0))
    refs = [actor.sleep.remote(seconds) for seconds in (0.1, 0.0, 30.0)]
    assert ray.get(refs[:2], timeout=10) == [0.1, 0.0]
    ray.kill(actor)


def test_an_actor_ends_after_a_long_call_too() -> None:
    actor = Sleeper.remote()
    with pytest.raises(ActorDiedError):
        ray.get(actor.leave_after.remote(0.3), timeout=20)


def test_an_actor_serves_while_a_thread_of_its_own_waits_in_get() -> None:
    actor, other = Sleeper.remote(), Sleeper.remote()
    ray.get([actor.sleep.remote(0), other.sleep.remote(0)])
    ray.get(actor.get_in_a_thread.remote([other.sleep.remote(60)]))
    for _ in range(3):
        assert ray.get(actor.sleep.remote(0.02), timeout=10) == 0.02
    ray.kill(other)


@ray.remote
def passed_on(value: Any) -> Any:
    return value


@ray.remote
def fails_after(seconds: float) -> None:
    time.sleep(seconds)
    raise ValueError("the first of many")


def test_an_error_goes_down_a_chain_longer_than_the_stack() -> None:
    ref = fails_after.remote(0.5)
    for _ in range(2000):
        ref = passed_on.remote(ref)
    with pytest.raises(ValueError, match="the first of many"):
        ray.get(ref, timeout=30)


def test_a_reference_in_an_error_keeps_its_object() -> None:
    @ray.remote
    def carries() -> None:
        raise Carrier(ray.put("cargo"))

    with pytest.raises(RayTaskError) as caught:
        ray.get(carries.remote(), timeout=20)
    time_for_drops = passed_on.remote(1)
    ray.get(time_for_drops)
    assert ray.get(caught.value.cause.ref, timeout=20) == "cargo"


def test_an_error_that_holds_a_reference_may_be_retried() -> None:
    @ray.remote(max_retries=2, retry_exceptions=[Carrier])
    def carries() -> None:
        raise Carrier(ray.put("cargo"))

    with pytest.raises(Carrier):
        ray.get(carries.remote(), timeout=20)


@ray.remote
def sleeps(seconds: float, started: Path | None = None) -> float:
    if started is not None:
        started.touch()
    time.sleep(seconds)
    return seconds


def test_an_error_among_many_counts_before_the_others_are_there() -> None:
    failed = fails_after.remote(0.0)
    slow = sleeps.remote(60)
    with pytest.raises(ValueError, match="the first of many"):
        ray.get([slow, failed], timeout=30)


def test_short_tasks_do_not_wait_behind_a_long_run_of_the_same_function(tmp_path: Path) -> None:
    """Their function was short so far, so its worker gets several ahead; it hands them back."""
    half = sleeps.options(num_cpus=0.5)
    ray.get([half.remote(0) for _ in range(300)])
    long = half.remote(60, tmp_path / "started")
    wait_for((tmp_path / "started").exists, "the long run has begun")
    assert ray.get([half.remote(0) for _ in range(20)], timeout=20) == [0] * 20
    del long


def test_shutdown_ends_the_waits_of_other_threads(tmp_path: Path) -> None:
    """A thread that goes on waiting would keep its program from ending."""
    program = """
import threading, time, ray
from ray._runtime import current
ray.init(num_cpus=1, log_to_driver=False)
@ray.remote
def forever(): time.sleep(1000)
def waits(ref):
    try:
        ray.get(ref)
    except ray.exceptions.RaySystemError as error:
        print(error)
ref = forever.remote()
threading.Thread(target=waits, args=(ref,)).start()
while not current.runtime().objects.get(ref.binary()).waiters:
    threading.Event().wait(0.01)
ray.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "ray.shutdown() was called" in done.stdout
