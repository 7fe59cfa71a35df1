"""Objects that nobody refers to any more are told to the object manager, once there is one to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.arena.arena_errors import ArenaAway, ArenaBusy
from ray._runtime.generators.generator_stream import WINDOW, GeneratorStream
from ray._runtime.objects.object_frees import Frees
from ray._runtime.objects.object_table import ObjectTable
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.values.wire import item_id

HERE, ELSEWHERE = b"h" * 28, b"e" * 28
LOCAL, REMOTE = b"l" * 28, b"r" * 28


class Scene:
    def __init__(self) -> None:
        self.freed: list[Any] = []
        self.soon: list[Callable[[], None]] = []
        self.problem: Exception | None = None
        self.size = 0
        self.process: Any = SimpleNamespace(
            lock=threading.RLock(),
            to_free=[(LOCAL, [HERE]), (REMOTE, [ELSEWHERE])],
            node_id=HERE,
            arena=self,
            reactor=SimpleNamespace(call_soon=self.soon.append),
        )
        self.frees = Frees(self.process)

    def free(self, items: list[Any], stale: list[Any]) -> None:
        if self.problem is not None:
            raise self.problem
        self.freed += [*items, *stale]


@pytest.mark.parametrize("made_meanwhile", [False, True])
def test_while_another_thread_connects_nothing_is_forgotten(made_meanwhile: bool) -> None:
    scene = Scene()
    scene.problem = ArenaBusy("another thread is connecting")
    scene.size = 4096 if made_meanwhile else 0
    scene.frees._stale = [(LOCAL, [ELSEWHERE])]
    scene.frees.send()
    scene.problem = None
    if not made_meanwhile:
        assert not scene.soon
        scene.frees.connected()
    for call in scene.soon:
        call()
    assert scene.freed == [(LOCAL, [HERE]), (REMOTE, [ELSEWHERE]), (LOCAL, [ELSEWHERE])]


def test_what_was_on_this_node_went_with_its_object_manager() -> None:
    scene = Scene()
    scene.problem = ArenaAway("nobody answers")
    scene.frees.send()
    scene.problem = None
    scene.frees.send()
    assert scene.freed == [(REMOTE, [ELSEWHERE])]


class Unanswered:
    """A process that gave no reply, on a node that lives."""

    def __init__(self, scene: Scene) -> None:
        self.objects = ObjectTable()
        self.dead: set[bytes] = set()
        self.watched: list[Any] = []
        self.peer: Any = SimpleNamespace(worker_id=b"w" * 28, node_id=ELSEWHERE)
        scene.process.objects = self.objects
        scene.process.to_free = []
        scene.process.raylets = SimpleNamespace(is_alive=lambda _node: True)
        scene.process.refs = SimpleNamespace(is_dead=self.dead.__contains__)
        scene.process.watch = self.watched.append


def record(num_returns: int = 1) -> TaskRecord:
    return TaskRecord(b"t" * 24, "f", num_returns, None, None, Timing(), 0)


def test_what_an_attempt_without_a_reply_stored_is_freed_now_and_once_its_process_is_dead() -> None:
    scene = Scene()
    lost = Unanswered(scene)
    call = record(2)
    first, second = call.return_ids()
    call.died_at(lost.peer)
    lost.objects.create(first)
    lost.objects.set_stored(first, 100, (HERE,))  # by another attempt
    scene.frees.earlier(call)
    assert lost.watched == [lost.peer]
    scene.frees.send()
    assert scene.freed == [(first, [ELSEWHERE]), (second, [ELSEWHERE])]
    scene.freed.clear()
    lost.objects.add_node(first, ELSEWHERE)  # a reader's copy
    scene.frees.worker_died(lost.peer.worker_id)
    scene.frees.worker_died(lost.peer.worker_id)
    scene.frees.send()
    assert scene.freed == [(second, [ELSEWHERE])]


def test_of_a_generator_all_is_freed_that_its_window_let_it_store() -> None:
    scene = Scene()
    lost = Unanswered(scene)
    lost.dead.add(lost.peer.worker_id)
    call = record()
    stream = GeneratorStream()
    call.generator = SimpleNamespace(stream=stream)  # type: ignore[assignment]
    stream.take(0, 5)
    call.died_at(lost.peer)
    stream.take(5, 1)  # the error
    scene.frees.earlier(call)
    scene.frees.send()
    freed = {object_id for object_id, _ in scene.freed}
    assert not lost.watched and {item_id(call.task_id, 5), item_id(call.task_id, 5 + WINDOW - 1)} <= freed
    assert item_id(call.task_id, 4) not in freed
