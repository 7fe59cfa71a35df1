"""Which function a call of an actor's method runs, and what runs at an actor's end; without a process."""

from __future__ import annotations

from typing import Any

import pytest
from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.execution.actor_host import ActorHost


class Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []


def a_host(instance: Any) -> ActorHost:
    host = ActorHost.__new__(ActorHost)
    host.spec = raylet_pb2.StartActor().spec
    host.instance = instance
    host._methods = {}
    return host


def test_an_attribute_of_the_instance_does_not_hide_a_method() -> None:
    class Counter:
        def __init__(self) -> None:
            self.value = 3  # type: ignore[assignment,method-assign]

        def value(self) -> Any:
            return self.value

    assert a_host(Counter()).method("value")() == 3


def test_methods_of_bases_and_of_the_class_itself_are_found() -> None:
    class Base:
        def inherited(self) -> str:
            return "base"

        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

    class Derived(Base):
        @staticmethod
        def static(number: int) -> int:
            return number

    host = a_host(Derived())
    assert host.method("inherited")() == "base"
    assert host.method("of_class")() == "Derived"
    assert host.method("static")(2) == 2
    assert host.method("__ray_ready__")() is True


def test_no_hook_of_the_class_is_asked_for_its_methods() -> None:
    class Meta(type):
        def __getattr__(cls, name: str) -> Any:
            raise RuntimeError(name)

    class Strict(metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def method(self) -> str:
            return "called"

    host = a_host(Strict())
    assert host.method("method")() == "called"
    assert host.method("__ray_ready__")() is True


def test_an_instance_of_another_class_answers_by_itself() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return lambda: name

    assert a_host(Proxy()).method("anything")() == "anything"
    with pytest.raises(AttributeError):
        a_host(Recorder()).method("nothing")


def test_at_the_end_the_actor_is_told_and_then_let_go() -> None:
    events: list[str] = []

    class Actor:
        def __ray_shutdown__(self) -> None:
            events.append("shutdown")

        def __del__(self) -> None:
            events.append("del")

        def method(self) -> None: ...

    host = a_host(Actor())
    host.method("method")()
    host.shut_down()
    assert events == ["shutdown"]
    host.let_go()
    assert events == ["shutdown", "del"]
    host.shut_down()  # nothing is left to be told


def test_an_actor_that_fails_at_its_end_ends_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Actor:
        def __ray_shutdown__(self) -> None:
            raise SystemExit(3)

    a_host(Actor()).shut_down()
    assert "actor_shutdown_failed" in caplog.text
