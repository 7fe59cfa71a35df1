"""Exceptions of user code on their way to the caller."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("session")


class Plain(Exception):
    pass


class WithFields(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.detail = detail


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(code)
        self.code = code


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not today")


class UnreadableHere(Exception):
    """Pickles, but its pickle cannot be read."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("cannot be rebuilt")


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("no subclasses")


class Slotted(Exception):
    __slots__ = ("field",)

    def __init__(self, field: int) -> None:
        super().__init__(field)
        self.field = field


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@ray.remote
def fail(error: Any) -> None:
    raise error


@ray.remote
def fail_with(kind: str) -> None:
    raise {
        "unpicklable": lambda: Unpicklable("x"),
        "unreadable": lambda: UnreadableHere("x"),
        "final": lambda: Final("x"),
        "keyword": lambda: KeywordOnly(code=3),
        "slotted": lambda: Slotted(4),
        "badtext": lambda: BadText("x"),
        "fields": lambda: WithFields(7, "broken"),
    }[kind]()


@ray.remote
def take(*values: Any) -> Any:
    return values


def deep(level: int) -> None:
    if level == 0:
        raise Plain("at the bottom")
    deep(level - 1)


def test_an_exception_is_a_task_error_and_of_its_own_class() -> None:
    with pytest.raises(Plain) as caught:
        ray.get(fail.remote(Plain("reason")))
    assert isinstance(caught.value, RayTaskError)
    assert isinstance(caught.value.cause, Plain)
    assert caught.value.cause.args == ("reason",)


def test_the_fields_of_the_user_s_class_are_there() -> None:
    with pytest.raises(WithFields) as caught:
        ray.get(fail_with.remote("fields"))
    assert (caught.value.code, caught.value.detail) == (7, "broken")
    assert isinstance(caught.value, RayTaskError)


def test_the_text_shows_the_remote_traceback() -> None:
    @ray.remote
    def start() -> None:
        deep(3)

    with pytest.raises(Plain) as caught:
        ray.get(start.remote())
    text = str(caught.value)
    assert text.count("in deep") + text.count("deep(level - 1)") >= 3
    assert "Plain" in text and "at the bottom" in text
    assert os.path.basename(__file__) in text
    assert "start()" in text
    # Frames of the runtime itself are of no use to the reader.
    assert "_runtime" not in text


def test_the_error_can_be_caught_as_builtin_classes() -> None:
    @ray.remote
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        ray.get(divide.remote())
    with pytest.raises(KeyError):
        ray.get(fail.remote(KeyError("k")))
    with pytest.raises(OSError, match="gone") as caught:
        ray.get(fail.remote(FileNotFoundError(2, "gone", "name")))
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.errno == 2


def test_every_get_raises_again() -> None:
    ref = fail.remote(Plain("reason"))
    for _ in range(3):
        with pytest.raises(Plain):
            ray.get(ref)


def test_get_of_a_list_raises_the_error_of_one_of_them() -> None:
    with pytest.raises(Plain):
        ray.get([take.remote(1), fail.remote(Plain("x")), take.remote(2)])


def test_each_of_several_returns_has_the_error() -> None:
    for ref in fail.options(num_returns=3).remote(Plain("x")):
        with pytest.raises(Plain):
            ray.get(ref)


def test_an_error_in_an_argument_becomes_the_caller_s_without_running_it(tmp_path: Any) -> None:
    path = tmp_path / "ran"

    @ray.remote
    def trace(value: Any) -> None:
        path.write_text("yes")

    with pytest.raises(Plain) as caught:
        ray.get(take.remote(trace.remote(fail.remote(Plain("first")))))
    assert isinstance(caught.value, RayTaskError)
    assert "first" in str(caught.value)
    assert not path.exists()


def test_an_error_that_a_task_lets_through_shows_both_tracebacks() -> None:
    @ray.remote
    def inner() -> None:
        raise Plain("inner reason")

    @ray.remote
    def outer() -> None:
        ray.get(inner.remote())

    with pytest.raises(Plain) as caught:
        ray.get(outer.remote())
    assert "inner()" in str(caught.value) and "outer()" in str(caught.value)
    assert isinstance(caught.value.cause, Plain)


def test_a_chained_exception_shows_its_cause() -> None:
    @ray.remote
    def chained() -> None:
        try:
            raise KeyError("original")
        except KeyError as error:
            raise Plain("consequence") from error

    with pytest.raises(Plain) as caught:
        ray.get(chained.remote())
    assert "original" in str(caught.value)
    assert "direct cause" in str(caught.value)


@pytest.mark.parametrize("kind", ["unpicklable", "unreadable", "final", "badtext"])
def test_an_exception_that_cannot_travel_is_still_a_task_error_with_its_text(kind: str) -> None:
    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(fail_with.remote(kind))
    assert {"unpicklable": "Unpicklable", "unreadable": "UnreadableHere", "final": "Final", "badtext": "BadText"}[
        kind
    ] in str(caught.value)
    if kind in ("final", "unpicklable", "badtext"):
        assert isinstance(caught.value, RayTaskError)


def test_odd_constructors_and_slots_travel() -> None:
    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(fail_with.remote("keyword"))
    assert "KeywordOnly" in str(caught.value)
    with pytest.raises(Slotted) as slotted:
        ray.get(fail_with.remote("slotted"))
    assert slotted.value.field == 4


def test_an_exception_class_defined_in_the_caller_is_caught_by_it() -> None:
    class Local(Exception):
        pass

    @ray.remote
    def raise_local() -> None:
        raise Local("here")

    with pytest.raises(Local):
        ray.get(raise_local.remote())


def test_exception_groups_travel() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        ray.get(fail.remote(ExceptionGroup("several", [ValueError("a"), KeyError("b")])))
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "BaseException"])
def test_exceptions_outside_exception_end_the_task_with_an_error(kind: str) -> None:
    @ray.remote(max_retries=0)
    def leave(kind: str) -> None:
        raise {"KeyboardInterrupt": KeyboardInterrupt, "BaseException": BaseException}[kind]("x")

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        ray.get(leave.remote(kind), timeout=20)
    assert not isinstance(caught.value, ray.exceptions.GetTimeoutError)
    assert isinstance(caught.value, ray.exceptions.RayError)
    assert ray.get(take.remote(1)) == (1,)


@pytest.mark.parametrize("status", [0, 3, None, "a text"])
def test_sys_exit_in_a_task_is_the_death_of_its_worker(status: Any, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    @ray.remote(max_retries=2, retry_exceptions=False)
    def leave() -> None:
        with runs.open("a") as file:
            file.write("x")
        sys.exit(status)

    with pytest.raises(WorkerCrashedError, match=re.escape(f"sys.exit({status!r}) was called in")):
        ray.get(leave.remote(), timeout=30)
    assert runs.read_text() == "xxx"
    assert ray.get(take.remote(1)) == (1,)


def test_sys_exit_in_a_generator_comes_after_the_items_before_it() -> None:
    @ray.remote(max_retries=0)
    def leave() -> Iterator[int]:
        yield 1
        sys.exit(3)

    items = leave.remote()
    assert ray.get(next(items), timeout=20) == 1
    with pytest.raises(WorkerCrashedError, match=r"sys\.exit\(3\)"):
        ray.get(next(items), timeout=20)


def test_tasks_behind_one_that_calls_sys_exit_run_elsewhere() -> None:
    @ray.remote(max_retries=0)
    def work(number: int) -> int:
        if number == 20:
            sys.exit(0)
        return number

    refs = [work.remote(number) for number in range(60)]
    with pytest.raises(WorkerCrashedError):
        ray.get(refs[20], timeout=30)
    assert ray.get(refs[:20] + refs[21:], timeout=30) == [*range(20), *range(21, 60)]


def test_a_result_that_cannot_be_pickled_is_a_type_error_of_the_result() -> None:
    @ray.remote
    def give() -> Any:
        import threading

        return threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        ray.get(give.remote())


def test_a_recursion_error_and_a_memory_error_are_errors_like_others() -> None:
    @ray.remote
    def recurse(n: int) -> int:
        return recurse_plain(n)

    def recurse_plain(n: int) -> int:
        return recurse_plain(n + 1)

    with pytest.raises(RecursionError):
        ray.get(recurse.remote(0))
    with pytest.raises(MemoryError):
        ray.get(fail.remote(MemoryError("no more")))


def test_a_module_that_the_worker_lacks_is_named() -> None:
    @ray.remote
    def use() -> None:
        import no_such_module_at_all  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        ray.get(use.remote())


def test_retry_exceptions_runs_again_until_it_works(tmp_path: Any) -> None:
    path = tmp_path / "attempts"

    @ray.remote(max_retries=3, retry_exceptions=True)
    def flaky() -> int:
        with path.open("a") as log:
            log.write("x")
        if len(path.read_text()) < 3:
            raise Plain("again")
        return len(path.read_text())

    assert ray.get(flaky.remote()) == 3


def test_application_errors_are_not_retried_by_default(tmp_path: Any) -> None:
    path = tmp_path / "attempts"

    @ray.remote
    def flaky() -> int:
        with path.open("a") as log:
            log.write("x")
        raise Plain("once")

    with pytest.raises(Plain):
        ray.get(flaky.remote())
    assert path.read_text() == "x"


def test_retry_exceptions_of_some_classes_retries_only_those(tmp_path: Any) -> None:
    path = tmp_path / "attempts"

    @ray.remote(max_retries=2, retry_exceptions=[KeyError])
    def flaky(error: Exception) -> int:
        with path.open("a") as log:
            log.write("x")
        raise error

    with pytest.raises(Plain):
        ray.get(flaky.remote(Plain("no")))
    assert path.read_text() == "x"
    path.unlink()
    with pytest.raises(KeyError):
        ray.get(flaky.remote(KeyError("yes")))
    assert path.read_text() == "xxx"


def test_a_task_error_can_be_pickled_and_printed() -> None:
    import pickle

    with pytest.raises(WithFields) as caught:
        ray.get(fail_with.remote("fields"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, WithFields) and isinstance(copy, RayTaskError)
    assert "broken (7)" in "".join(traceback.format_exception(caught.value))
