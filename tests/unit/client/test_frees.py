"""Objects that nobody refers to any more are told to the object manager, once there is one to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray._runtime.arena_errors import ArenaAway, ArenaBusy
from ray._runtime.frees import Frees

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
