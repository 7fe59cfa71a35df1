"""What is refused at the call or the definition, and with which error."""

import threading
from typing import Any

import pytest
import ray

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def two(a: int, b: int) -> int:
    return a + b


@ray.remote
class Actor:
    def __init__(self, value: int = 0) -> None:
        self.value = value

    def method(self, value: int) -> int:
        return value


def test_a_direct_call_of_a_remote_function_says_to_use_remote() -> None:
    with pytest.raises(TypeError, match=r"cannot be called directly.*two\.remote\("):
        two(1, 2)


def test_a_direct_instantiation_of_an_actor_class_says_to_use_remote() -> None:
    with pytest.raises(TypeError, match=r"cannot be instantiated directly.*Actor\.remote\("):
        Actor()


def test_a_direct_call_of_an_actor_method_says_to_use_remote() -> None:
    actor = Actor.remote()
    with pytest.raises(TypeError, match=r"cannot be called directly.*method\.remote\("):
        actor.method(1)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1,), {}), ((1, 2, 3), {}), ((1,), {"c": 2}), ((1, 2), {"b": 2})]
)
def test_wrong_arguments_are_a_type_error_at_the_call(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        two.remote(*args, **kwargs)


def test_wrong_arguments_of_a_constructor_or_method_are_a_type_error_at_the_call() -> None:
    with pytest.raises(TypeError):
        Actor.remote(1, 2)
    actor = Actor.remote()
    with pytest.raises(TypeError):
        actor.method.remote()
    with pytest.raises(TypeError):
        actor.method.remote(1, other=2)
    assert ray.get(actor.method.remote(3)) == 3


def test_an_unknown_method_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_method"):
        _ = Actor.remote().no_such_method


def test_unknown_options_are_named() -> None:
    with pytest.raises(ValueError, match="num_cpu"):
        two.options(num_cpu=1)
    with pytest.raises(ValueError, match="colour"):
        ray.remote(colour="red")(lambda: None)
    with pytest.raises(ValueError, match="colour"):
        Actor.options(colour="red")


def test_options_of_tasks_are_refused_for_actors_and_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="max_retries"):
        Actor.options(max_retries=1)
    with pytest.raises(ValueError, match="max_restarts"):
        two.options(max_restarts=1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": -1},
        {"num_returns": -3},
        {"max_retries": -2},
        {"resources": {"CPU": 1}},
        {"resources": {"slot": -1}},
        {"num_gpus": 1.5},
        {"memory": -1},
    ],
)
def test_bad_values_of_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        two.options(**options).remote(1, 2)


def test_positional_arguments_of_the_decorator_are_refused() -> None:
    with pytest.raises((TypeError, ValueError, AssertionError)):
        ray.remote(4)


def test_the_decorator_refuses_what_is_neither_function_nor_class() -> None:
    with pytest.raises(TypeError):
        ray.remote("text")


def test_async_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="'async def' should not be used for remote tasks"):

        @ray.remote
        async def f() -> None: ...


def test_an_argument_that_cannot_be_pickled_is_a_type_error_at_the_call() -> None:
    with pytest.raises(TypeError, match="lock") as caught:
        two.remote(threading.Lock(), 1)
    assert "lock" in str(caught.value)
    assert "two" in str(caught.value)


def test_a_closure_that_cannot_be_pickled_is_a_type_error_at_the_call() -> None:
    lock = threading.Lock()

    @ray.remote
    def locked() -> None:
        with lock:
            pass

    with pytest.raises(TypeError, match="lock"):
        locked.remote()


def test_a_value_that_cannot_be_pickled_is_a_type_error_of_put() -> None:
    with pytest.raises(TypeError, match="lock"):
        ray.put(threading.Lock())


def test_the_runtime_goes_on_after_refusals() -> None:
    for _ in range(20):
        with pytest.raises(TypeError):
            two.remote(threading.Lock(), 1)
    assert ray.get(two.remote(1, 2)) == 3
