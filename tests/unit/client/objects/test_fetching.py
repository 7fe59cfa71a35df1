"""Futures of objects, on whatever thread they are asked for and whenever the process leaves the cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.objects.fetching import Fetcher
from ray._runtime.objects.object_table import ObjectEntry, ObjectTable
from ray._runtime.values.object_ref import ObjectRef
from ray.exceptions import RaySystemError

DEADLINE_S = 20.0
HERE, ELSEWHERE = b"h" * 28, b"e" * 28
OBJECT = b"x" * 28


class Scene:
    """A process of which only what futures need is there; its one helper is busy until it is let go."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects = ObjectTable()
        self.helpers = ThreadPoolExecutor(1)
        self.free = threading.Event()
        self.helpers.submit(self.free.wait, DEADLINE_S)
        process: Any = SimpleNamespace(
            closing=True, lock=self.lock, objects=self.objects, helpers=self.helpers, node_id=HERE, inquiries=self
        )
        self.fetcher = Fetcher(process)

    def want(self, ref: ObjectRef) -> None: ...


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.free.set()
    made.helpers.shutdown()


@pytest.mark.parametrize("when", ["queued", "pending", "late"])
def test_a_future_whose_object_cannot_be_brought_any_more_ends(scene: Scene, when: str) -> None:
    scene.objects.create(OBJECT)
    if when == "queued":
        scene.objects.set_stored(OBJECT, 9, (ELSEWHERE,))
        future = scene.fetcher.future_of(ObjectRef(OBJECT))
        scene.helpers.shutdown(wait=False, cancel_futures=True)
    elif when == "pending":
        future = scene.fetcher.future_of(ObjectRef(OBJECT))
        scene.helpers.shutdown(wait=False, cancel_futures=True)
        for waiter in scene.objects.set_stored(OBJECT, 9, (ELSEWHERE,)):
            waiter(OBJECT)
    else:
        scene.helpers.shutdown(wait=False, cancel_futures=True)
        scene.objects.set_stored(OBJECT, 9, (ELSEWHERE,))
        future = scene.fetcher.future_of(ObjectRef(OBJECT))
    with pytest.raises(RaySystemError, match="shutdown"):
        future.result(DEADLINE_S)


def test_a_ref_that_was_just_unpickled_is_counted_without_the_lock(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned: list[bool] = []

    def counted(_ref: ObjectRef) -> ObjectEntry:
        owned.append(scene.lock._is_owned())  # type: ignore[attr-defined]
        return scene.objects.create(OBJECT)

    monkeypatch.setattr(scene.fetcher, "_counted_now", counted)
    scene.fetcher.future_of(ObjectRef(OBJECT))
    assert owned == [False]
