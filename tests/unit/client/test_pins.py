"""Each pin that was counted is given back once, whatever happens at the moment of its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ray._runtime.pins import Mapping, Pinned

OBJECT = b"o" * 28


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    arena = os.memfd_create("arena")
    os.ftruncate(arena, 4096)
    yield Mapping(4096, arena, arena)
    os.close(arena)


class Racing(dict[bytes, Any]):
    """A dict that another thread changes after a look at it."""

    then: Callable[[], None] | None = None

    def get(self, key: bytes, default: Any = None) -> Any:
        found = super().get(key, default)
        then, self.then = self.then, None
        if then is not None:
            then()
        return found


def test_a_second_pin_of_an_object_is_given_back_at_once(mapping: Mapping) -> None:
    pin = mapping.adopt(OBJECT, 0, 64)
    assert mapping.adopt(OBJECT, 0, 64) is pin and list(mapping.outgoing) == [(OBJECT,)]
    del pin
    assert list(mapping.outgoing) == [(OBJECT,)] * 2 and mapping.pins == 0


def test_a_pin_made_while_the_one_before_ends_is_given_back_too(mapping: Mapping) -> None:
    pins: list[Pinned] = [mapping.adopt(OBJECT, 0, 64)]
    racing = Racing(mapping._pins)
    mapping._pins = racing
    last: list[bool] = []
    mapping.on_last = lambda: last.append(True)
    racing.then = lambda: pins.append(mapping.adopt(OBJECT, 0, 64))
    pins.pop(0)
    assert len(pins) == 1 and list(mapping.outgoing) == [(OBJECT,)]
    assert mapping.pins == 1 and not last
    pins.clear()
    assert list(mapping.outgoing) == [(OBJECT,)] * 2 and mapping.pins == 0 and last
