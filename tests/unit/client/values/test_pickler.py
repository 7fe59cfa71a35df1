"""What goes by value to another process, and comes home, is what it was."""

from __future__ import annotations

import inspect
import linecache
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from ray._runtime.values.pickler import dumps

# Reads a value and answers with one that it makes of its class.
ELSEWHERE = """
import pickle, sys
from ray._runtime.values.pickler import dumps
kinds = pickle.load(sys.stdin.buffer)
made = [kind(5) for kind in kinds]
slots = [not hasattr(item, "__dict__") for item in made]
for kind in kinds:
    kind.note = "changed elsewhere"
sys.stdout.buffer.write(dumps((made, slots)))
"""


def elsewhere(kinds: list[type]) -> Any:
    run = subprocess.run([sys.executable, "-c", ELSEWHERE], input=dumps(kinds), capture_output=True, check=True)
    return pickle.loads(run.stdout)


def local_function() -> Callable[[], Any]:
    def outer() -> Any:
        return lambda: 1 / 0

    # By value, as what a script defines.
    outer.__module__ = "__main__"
    return outer


def test_code_keeps_the_file_and_the_lines_that_it_is_of() -> None:
    here = local_function()
    there = pickle.loads(dumps(here))
    assert there is not here
    for code in (there.__code__, there().__code__):
        assert code.co_filename == __file__
    assert "lambda: 1 / 0" in linecache.getline(there().__code__.co_filename, there().__code__.co_firstlineno)
    assert inspect.getsource(there) == inspect.getsource(here)


def test_instances_of_slotted_classes_made_elsewhere_fit_the_classes_here() -> None:
    class Plain:
        __slots__ = ("a",)
        note: str

        def __init__(self, a: int) -> None:
            self.a = a

    class Referable(Plain):
        __slots__ = ("__b", "__weakref__")

        def __init__(self, a: int) -> None:
            super().__init__(a)
            self.__b = 2

    class OneName:
        __slots__ = "a"

        def __init__(self, a: int) -> None:
            self.a = a

    class OfAnIterator:
        __slots__ = iter(("a",))

        def __init__(self, a: int) -> None:
            self.a = a

    class WithDict(Plain):
        pass

    @dataclass(slots=True)
    class Data:
        a: int
        b: int = 3

    @dataclass(slots=True, frozen=True)
    class Frozen:
        a: int

    kinds: list[type] = [Plain, Referable, OneName, OfAnIterator, WithDict, Data, Frozen]
    made, slotted = elsewhere(kinds)
    assert [type(item) for item in made] == kinds
    assert [item.a for item in made] == [5] * len(kinds)
    assert slotted == [kind is not WithDict for kind in kinds]


def test_a_class_that_comes_home_does_not_change_there() -> None:
    class Setting:
        note = "as defined"

        def __init__(self, value: int) -> None:
            self.value = value

        def read(self) -> str:
            return self.note

    read = Setting.read
    Setting.note = "as set since"
    made, _ = elsewhere([Setting])
    assert type(made[0]) is Setting
    assert Setting.read is read
    assert made[0].read() == "as set since"


def test_enumerations_come_home_as_their_members() -> None:
    class Colour(Enum):
        RED = 5

    made, _ = elsewhere([Colour])
    assert made[0] is Colour.RED


@pytest.mark.parametrize("value", [{"a": [1, 2]}, "text", ValueError("x")])
def test_other_values_are_pickled_as_ever(value: Any) -> None:
    assert repr(pickle.loads(dumps(value))) == repr(value)
