"""What becomes of actors while several threads hear of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2
from ray._runtime.actors.actor_calls import ActorState
from ray._runtime.actors.actor_record import Actor, HandleState
from ray._runtime.actors.actors import Actors

ACTOR, NODE = b"a" * 16, b"n" * 28
FIRST, SECOND = b"1" * 28, b"2" * 28


class Lock:
    """An RLock with a thread in front: before somebody gets it, that one does what it came for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.ahead: Callable[[], None] | None = None

    def __enter__(self) -> None:
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            ahead()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Scene:
    """A process of which only what Actors uses is there."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.before_answer: Callable[[], None] = lambda: None
        process: Any = SimpleNamespace(
            lock=self.lock,
            dirty=set(),
            peers=SimpleNamespace(
                get=lambda worker_id, _node_id: SimpleNamespace(worker_id=worker_id), drain=lambda _worker_id: None
            ),
            watch=lambda _peer: None,
            after_lock=lambda: None,
            blocking=lambda: self.lock,
            reactor=SimpleNamespace(call_soon=lambda call: call()),
            gcs=SimpleNamespace(subscribe=lambda _actor_id: None, call=lambda **_request: self.before_answer()),
        )
        self.actors = Actors(process)
        state = HandleState("A", {}, False, 0, True)
        self.actor = Actor(ACTOR, state.pickled(), state)
        self.actors.add(self.actor)
        self.alive(0, FIRST)

    def alive(self, incarnation: int, worker_id: bytes) -> None:
        address = common_pb2.WorkerAddress(node_id=NODE, worker_id=worker_id)
        status = actor_pb2.ActorStatus(actor_id=ACTOR, state=actor_pb2.ALIVE, address=address, incarnation=incarnation)
        self.actors.on_statuses([status])

    def restarts(self) -> None:
        self.actors.on_statuses([actor_pb2.ActorStatus(actor_id=ACTOR, state=actor_pb2.RESTARTING)])
        self.alive(1, SECOND)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_death_of_a_process_makes_its_calls_wait(scene: Scene) -> None:
    scene.actors.on_worker_died(SECOND)
    assert scene.actor.calls.state is ActorState.ALIVE
    scene.actors.on_worker_died(FIRST)
    assert scene.actor.calls.state is ActorState.AWAY


def test_the_death_of_a_process_says_nothing_of_the_next_incarnation(scene: Scene) -> None:
    scene.lock.ahead = scene.restarts
    scene.actors.on_worker_died(FIRST)
    assert scene.actor.calls.state is ActorState.ALIVE and scene.actor.calls.incarnation == 1


def test_after_a_kill_the_next_incarnation_may_be_there_already(scene: Scene) -> None:
    scene.before_answer = lambda: setattr(scene.lock, "ahead", scene.restarts)
    scene.actors.kill(ACTOR, no_restart=False)
    assert scene.actor.calls.state is ActorState.ALIVE and scene.actor.calls.incarnation == 1
    scene.before_answer = lambda: None
    scene.actors.kill(ACTOR, no_restart=False)
    assert scene.actor.calls.state is ActorState.AWAY
