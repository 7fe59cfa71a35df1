"""Actors: state, order, handles that travel, errors, and how they end."""

import contextlib
import gc
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def get(self) -> int:
        return self.value

    def pid(self) -> int:
        return os.getpid()


@ray.remote(num_cpus=0)
class Log:
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def append(self, entry: Any) -> None:
        self.entries.append(entry)

    def all(self) -> list[Any]:
        return self.entries


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_actor_keeps_state_between_calls() -> None:
    counter = Counter.remote(10)
    assert ray.get([counter.add.remote(number) for number in (1, 2, 3)]) == [11, 13, 16]
    assert ray.get(counter.get.remote()) == 16


def test_each_actor_has_a_process_and_state_of_its_own() -> None:
    counters = [Counter.options(num_cpus=0).remote(number) for number in range(6)]
    assert ray.get([counter.add.remote() for counter in counters]) == [1, 2, 3, 4, 5, 6]
    pids = ray.get([counter.pid.remote() for counter in counters])
    assert len({*pids, os.getpid()}) == 7


def test_calls_of_one_caller_run_in_its_order() -> None:
    log = Log.remote()
    for number in range(1000):
        log.append.remote(number)
    assert ray.get(log.all.remote()) == list(range(1000))


def test_each_caller_s_order_holds_among_several() -> None:
    log = Log.remote()

    @ray.remote
    def write(log: Any, who: int) -> None:
        for number in range(100):
            log.append.remote((who, number))
        ray.get(log.all.remote())

    ray.get([write.remote(log, who) for who in range(4)])
    entries = ray.get(log.all.remote())
    for who in range(4):
        assert [number for writer, number in entries if writer == who] == list(range(100))


def test_calls_wait_for_their_arguments_in_order() -> None:
    log = Log.remote()

    @ray.remote
    def slow() -> str:
        time.sleep(0.3)
        return "first"

    log.append.remote(slow.remote())
    log.append.remote("second")
    assert ray.get(log.all.remote()) == ["first", "second"]


def test_a_synchronous_actor_runs_one_method_at_a_time() -> None:
    @ray.remote
    class Exclusive:
        def __init__(self) -> None:
            self.inside = 0
            self.most = 0

        def enter(self) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)
            self.inside -= 1
            return self.most

    exclusive = Exclusive.remote()

    @ray.remote
    def call(exclusive: Any) -> int:
        return max(ray.get([exclusive.enter.remote() for _ in range(5)]))

    assert ray.get([call.remote(exclusive) for _ in range(3)]) == [1, 1, 1]


def test_arguments_of_constructors_and_methods_are_resolved_or_stay_references() -> None:
    @ray.remote
    class Kinds:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.seen = self.kinds(*args, **kwargs)

        def kinds(self, *args: Any, **kwargs: Any) -> Any:
            return [type(value).__name__ for value in args], {
                key: type(value).__name__ for key, value in kwargs.items()
            }

        def of_constructor(self) -> Any:
            return self.seen

    ref = ray.put(1)
    actor = Kinds.remote(ref, [ref], key=ref)
    expected = (["int", "list"], {"key": "int"})
    assert ray.get(actor.of_constructor.remote()) == expected
    assert ray.get(actor.kinds.remote(ref, [ref], key=ref)) == expected


def test_large_results_and_arguments_of_methods() -> None:
    @ray.remote
    class Store:
        def put(self, array: Any) -> None:
            self.array = array

        def twice(self) -> Any:
            return self.array * 2

    store = Store.remote()
    ray.get(store.put.remote(np.ones(1_000_000)))
    result = ray.get(store.twice.remote())
    assert result.sum() == 2_000_000 and not result.flags.writeable


def test_several_and_no_results_of_methods() -> None:
    @ray.remote
    class Many:
        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

        def triple(self) -> tuple[int, int, int]:
            return 1, 2, 3

    many = Many.remote()
    assert ray.get(many.pair.remote()) == [1, 2]
    assert ray.get(many.triple.options(num_returns=3).remote()) == [1, 2, 3]
    assert many.triple.options(num_returns=0).remote() is None


# ---- handles


def test_a_handle_works_in_a_task() -> None:
    counter = Counter.remote()

    @ray.remote
    def add_ten(counter: Any) -> int:
        return ray.get([counter.add.remote() for _ in range(10)])[-1]

    ray.get([add_ten.remote(counter) for _ in range(4)])
    assert ray.get(counter.get.remote()) == 40


def test_a_handle_works_in_another_actor_and_in_a_container() -> None:
    @ray.remote
    class User:
        def __init__(self, counters: dict[str, Any]) -> None:
            self.counter = counters["counter"]

        def use(self) -> Any:
            return ray.get(self.counter.add.remote())

    counter = Counter.remote()
    user = User.remote({"counter": counter})
    assert ray.get(user.use.remote()) == 1
    assert ray.get(counter.add.remote()) == 2


def test_a_handle_survives_in_an_object_and_as_a_result() -> None:
    stored = ray.put([Counter.remote(5)])
    gc.collect()
    assert ray.get(ray.get(stored)[0].add.remote()) == 6

    @ray.remote
    def create() -> Any:
        return Counter.remote(7)

    counter = ray.get(create.remote())
    assert ray.get(counter.add.remote()) == 8


def test_a_handle_captured_by_a_closure_works() -> None:
    counter = Counter.remote()

    @ray.remote
    def add() -> Any:
        return ray.get(counter.add.remote())

    assert sorted(ray.get([add.remote() for _ in range(5)])) == [1, 2, 3, 4, 5]


def test_an_actor_knows_its_own_handle() -> None:
    @ray.remote
    class Self:
        def me(self) -> Any:
            return ray.get_runtime_context().current_actor

        def name(self) -> str:
            return "it is me"

    actor = Self.remote()
    assert ray.get(ray.get(actor.me.remote()).name.remote()) == "it is me"


def test_actors_create_and_call_actors() -> None:
    @ray.remote
    class Parent:
        def __init__(self) -> None:
            self.children = [Counter.options(num_cpus=0).remote(number) for number in range(3)]

        def total(self) -> int:
            return sum(ray.get([child.add.remote() for child in self.children]))

    assert ray.get(Parent.remote().total.remote()) == 6


def test_calls_from_many_threads_all_arrive() -> None:
    counter = Counter.remote()

    def call() -> None:
        ray.get([counter.add.remote() for _ in range(100)])

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ray.get(counter.get.remote()) == 800


def test_inheritance_and_class_attributes_work() -> None:
    class Base:
        factor = 3

        def scale(self, value: int) -> int:
            return value * self.factor

        @staticmethod
        def fixed() -> int:
            return 11

        @classmethod
        def name(cls) -> str:
            return cls.__name__

    @ray.remote
    class Derived(Base):
        factor = 4

        def scale(self, value: int) -> int:
            return super().scale(value) + 1

    derived = Derived.remote()
    assert ray.get(derived.scale.remote(2)) == 9
    assert ray.get([derived.fixed.remote(), derived.name.remote()]) == [11, "Derived"]


# ---- errors


def test_an_error_in_a_method_is_raised_and_the_actor_lives_on() -> None:
    @ray.remote
    class Fragile:
        def fail(self) -> None:
            raise KeyError("reason")

        def work(self) -> int:
            return 1

    fragile = Fragile.remote()
    with pytest.raises(KeyError) as caught:
        ray.get(fragile.fail.remote())
    assert isinstance(caught.value, RayTaskError)
    assert "Fragile.fail()" in str(caught.value)
    assert ray.get(fragile.work.remote()) == 1


def test_an_error_in_the_constructor_fails_all_calls_and_is_shown() -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no way to begin")

        def work(self) -> int:
            return 1

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(ActorDiedError, match="no way to begin") as caught:
            ray.get(broken.work.remote(), timeout=20)
        assert caught.value.actor_init_failed
        assert "Broken.__init__() (pid=" in str(caught.value)
        assert f"actor_id={caught.value.actor_id}, repr=" in str(caught.value)


def test_an_error_in_an_argument_of_the_constructor_fails_the_actor() -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("argument reason")

    counter = Counter.remote(fail.remote())
    with pytest.raises(ray.exceptions.RayError, match="argument reason"):
        ray.get(counter.get.remote(), timeout=20)


def test_an_error_in_an_argument_of_a_method_fails_that_call_only() -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("argument reason")

    counter = Counter.remote()
    with pytest.raises(ValueError, match="argument reason"):
        ray.get(counter.add.remote(fail.remote()))
    assert ray.get(counter.add.remote()) == 1


# ---- ends


def test_a_killed_actor_fails_calls_and_its_process_is_gone() -> None:
    counter = Counter.remote()
    pid = ray.get(counter.pid.remote())
    ray.kill(counter)
    with pytest.raises(RayActorError):
        ray.get(counter.add.remote(), timeout=20)
    with pytest.raises(ActorDiedError):
        ray.get(counter.add.remote(), timeout=20)
    wait_for(lambda: not is_running(pid), "its process has gone")


def test_kill_of_an_actor_that_is_just_being_created() -> None:
    counter = Counter.remote()
    ray.kill(counter)
    with pytest.raises(RayActorError):
        ray.get(counter.get.remote(), timeout=20)


def test_a_running_call_fails_when_the_actor_is_killed() -> None:
    @ray.remote
    class Sleeper:
        def ready(self) -> None: ...

        def sleep(self) -> None:
            time.sleep(60)

    sleeper = Sleeper.remote()
    ray.get(sleeper.ready.remote())
    running = sleeper.sleep.remote()
    queued = sleeper.ready.remote()
    ray.kill(sleeper)
    for ref in (running, queued):
        with pytest.raises(RayActorError):
            ray.get(ref, timeout=20)


def test_an_actor_goes_when_its_last_handle_goes() -> None:
    counter = Counter.remote()
    pid = ray.get(counter.pid.remote())
    other = counter
    del counter
    gc.collect()
    assert ray.get(other.add.remote()) == 1
    assert is_running(pid)
    del other
    wait_for(lambda: not is_running(pid), "its process has gone")
    wait_for(lambda: ray.available_resources().get("CPU") == 4.0, "its CPU is free")


def test_calls_made_before_the_last_handle_went_are_done() -> None:
    log = Log.remote()

    @ray.remote
    class Writer:
        def write(self, log: Any, entry: int) -> int:
            ray.get(log.append.remote(entry))
            return entry

    writer = Writer.remote()
    refs = [writer.write.remote(log, number) for number in range(20)]
    del writer
    assert ray.get(refs, timeout=20) == list(range(20))
    assert ray.get(log.all.remote()) == list(range(20))


def test_a_chained_temporary_actor_answers() -> None:
    assert ray.get(Counter.remote(41).add.remote()) == 42


def test_a_handle_in_a_running_task_keeps_the_actor() -> None:
    @ray.remote
    def use_later(handles: list[Any]) -> Any:
        time.sleep(0.5)
        return ray.get(handles[0].add.remote())

    counter = Counter.remote()
    result = use_later.remote([counter])
    del counter
    gc.collect()
    assert ray.get(result, timeout=20) == 1


def test_an_actor_that_exits_itself_is_dead() -> None:
    @ray.remote
    class Leaver:
        def leave(self) -> None:
            ray.actor.exit_actor()

        def work(self) -> int:
            return 1

    leaver = Leaver.remote()
    with pytest.raises(RayActorError):
        ray.get(leaver.leave.remote(), timeout=20)
    with pytest.raises(RayActorError):
        ray.get(leaver.work.remote(), timeout=20)


def test_an_actor_whose_process_dies_fails_its_calls() -> None:
    @ray.remote
    class Dying:
        def die(self) -> None:
            os._exit(1)

        def work(self) -> int:
            return 1

    dying = Dying.remote()
    assert ray.get(dying.work.remote()) == 1
    running, queued = dying.die.remote(), dying.work.remote()
    for ref in (running, queued, dying.work.remote()):
        with pytest.raises(RayActorError):
            ray.get(ref, timeout=20)


def test_the_death_of_an_actor_is_noticed_while_its_forked_children_live_on() -> None:
    @ray.remote
    class Forker:
        def fork(self) -> tuple[int, int]:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            return os.getpid(), child

    forker = Forker.remote()
    pid, child = ray.get(forker.fork.remote())
    try:
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RayActorError):
            ray.get(forker.fork.remote(), timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):  # its node may have ended it by now
            os.kill(child, signal.SIGKILL)


def test_named_actors_are_found_by_name() -> None:
    counter = Counter.options(name="the counter").remote(3)
    assert ray.get(ray.get_actor("the counter").add.remote()) == 4
    with pytest.raises(ValueError, match="the counter"):
        Counter.options(name="the counter").remote()
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")
    del counter


def test_forty_actors_are_created_and_called() -> None:
    counters = [Counter.options(num_cpus=0).remote(number) for number in range(40)]
    assert ray.get([counter.add.remote() for counter in counters], timeout=60) == [number + 1 for number in range(40)]


def test_an_actor_whose_argument_is_an_error_already_is_made_and_dead() -> None:
    @ray.remote
    def fail() -> int:
        raise ValueError("the argument")

    failed = fail.remote()
    with pytest.raises(RayTaskError):
        ray.get(failed)
    handle = Counter.remote(failed)
    with pytest.raises(ActorDiedError, match="the argument"):
        ray.get(handle.get.remote())
