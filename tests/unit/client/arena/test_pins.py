"""Each pin that was counted is given back once, whatever happens at the moment of its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from manta_common.channel.framing import FrameDecoder
from manta_proto.object_manager.v1 import object_manager_pb2 as pb
from ray._runtime.arena.extents import Part
from ray._runtime.arena.outbox import News
from ray._runtime.arena.pins import Mapping, Pinned

OBJECT = b"o" * 28


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    arena = os.memfd_create("arena")
    os.ftruncate(arena, 4096)
    yield Mapping(4096, arena, arena)
    os.close(arena)


def said(mapping: Mapping) -> list[tuple[int, Any]]:
    """What would go to the object manager now: (kind, object id or ids)."""
    out: list[tuple[int, Any]] = []
    for kind, payload in FrameDecoder().feed(mapping.outbox.drain()):
        if kind == pb.SEAL:
            out.append((kind, pb.Seal.FromString(payload).object_id))
        else:
            out.append((kind, list(pb.Release.FromString(payload).object_ids)))
    return out


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
    assert mapping.adopt(OBJECT, 0, 64) is pin and said(mapping) == [(pb.RELEASE, [OBJECT])]
    del pin
    assert said(mapping) == [(pb.RELEASE, [OBJECT])] and mapping.pins == 0


def test_a_pin_made_while_the_one_before_ends_is_given_back_too(mapping: Mapping) -> None:
    pins: list[Pinned] = [mapping.adopt(OBJECT, 0, 64)]
    racing = Racing(mapping._pins)
    mapping._pins = racing
    last: list[bool] = []
    mapping.on_last = lambda: last.append(True)
    racing.then = lambda: pins.append(mapping.adopt(OBJECT, 0, 64))
    pins.pop(0)
    assert len(pins) == 1 and said(mapping) == [(pb.RELEASE, [OBJECT])]
    assert mapping.pins == 1 and not last
    pins.clear()
    assert said(mapping) == [(pb.RELEASE, [OBJECT])] and mapping.pins == 0 and last


def written(mapping: Mapping, object_id: bytes = OBJECT) -> Pinned:
    mapping.outbox.news(News(object_id, Part(1, 0, 64), 60, None))
    return mapping.adopt(object_id, 0, 60)


def test_of_an_object_that_is_withdrawn_nothing_is_said(mapping: Mapping) -> None:
    pin, other = written(mapping), written(mapping, b"p" * 28)
    del pin
    assert not mapping.is_pinned(OBJECT)
    news = mapping.outbox.withdraw(OBJECT)
    assert news is not None and news.part == Part(1, 0, 64)
    assert mapping.outbox.withdraw(OBJECT) is None
    assert said(mapping) == [(pb.SEAL, b"p" * 28)]
    del other
    assert said(mapping) == [(pb.RELEASE, [b"p" * 28])] and not mapping.outbox


def test_what_was_said_is_not_withdrawn_and_its_pin_is_given_back(mapping: Mapping) -> None:
    pin = written(mapping)
    assert said(mapping) == [(pb.SEAL, OBJECT)]
    assert mapping.is_pinned(OBJECT)
    del pin
    assert mapping.outbox.withdraw(OBJECT) is None and said(mapping) == [(pb.RELEASE, [OBJECT])]


def test_the_release_of_a_withdrawn_object_may_come_after_its_news_was_passed_over(mapping: Mapping) -> None:
    pin = written(mapping)
    mapping.outbox.withdraw(OBJECT)
    assert said(mapping) == []
    del pin
    assert said(mapping) == []
    pin = written(mapping)
    del pin
    assert said(mapping) == [(pb.SEAL, OBJECT), (pb.RELEASE, [OBJECT])]
