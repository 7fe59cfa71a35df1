"""Before the arena counts as full, the other processes of the node collect garbage; what they let go is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from manta_object_manager import garbage, room_waits
from manta_object_manager.client_id import ClientId
from manta_object_manager.garbage import Garbage
from manta_object_manager.room_waits import RoomWaits
from manta_proto.object_manager.v1 import object_manager_pb2 as pb


class Process:
    """A client that remembers which rounds it was asked in."""

    def __init__(self, number: int) -> None:
        self.id = ClientId(number)
        self.closed = False
        self.rounds: list[int] = []

    def send(self, kind: int, message: Message) -> None:
        assert kind == pb.GARBAGE_ASKED and isinstance(message, pb.GarbageAsked)
        self.rounds.append(message.round)


class Node:
    def __init__(self, processes: int = 3) -> None:
        self.processes = [Process(number) for number in range(1, processes + 1)]
        self.garbage = Garbage(self.living)
        self.done: list[tuple[str, bool]] = []

    def living(self) -> Iterator[Process]:
        return (process for process in self.processes if not process.closed)

    def ask(self, process: Process, name: str = "") -> None:
        self.garbage.when_collected(process, lambda let_go: self.done.append((name, let_go)))

    def answer(self, process: Process, let_go: bool = False) -> None:
        self.garbage.answered(process, pb.GarbageCollected(round=process.rounds[-1], let_go=let_go))


async def test_all_but_the_asker_are_asked_and_the_last_answer_ends_the_round() -> None:
    node = Node()
    asker, other, third = node.processes
    node.ask(asker)
    node.answer(other, let_go=True)
    assert not node.done and not asker.rounds
    node.answer(third)
    assert node.done == [("", True)]


async def test_who_comes_while_a_round_runs_waits_for_one_of_its_own() -> None:
    node = Node(2)
    asker, other = node.processes
    node.ask(asker, "first")
    node.ask(asker, "second")
    node.answer(other, let_go=True)
    assert node.done == [("first", True)] and len(other.rounds) == 2
    node.answer(other)
    assert node.done == [("first", True), ("second", False)]


async def test_the_next_round_waits_a_moment_when_nobody_let_anything_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "FRUITLESS_S", 600.0)
    node = Node(2)
    asker, other = node.processes
    node.ask(asker)
    node.answer(other)
    node.ask(asker)
    node.ask(asker)
    assert node.done == [("", False)] and len(other.rounds) == 1
    assert node.garbage._resting is not None
    node.garbage._resting.cancel()
    node.garbage._rested()
    node.answer(other, let_go=True)
    assert node.done[1:] == [("", True), ("", True)]


async def test_the_end_of_a_process_answers_for_it_and_a_silent_one_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "COLLECT_S", 0.01)
    monkeypatch.setattr(garbage, "FRUITLESS_S", 0.0)
    node = Node(3)
    asker, ends, silent = node.processes
    over = asyncio.Event()
    node.garbage.when_collected(asker, lambda _let_go: over.set())
    ends.closed = True
    node.garbage.client_closed(ends)
    await asyncio.wait_for(over.wait(), 10)
    node.ask(asker)
    assert node.done == [("", False)] and len(silent.rounds) == 1, "it has not answered since"


async def test_a_process_alone_waits_for_nobody() -> None:
    node = Node(1)
    node.ask(node.processes[0])
    assert node.done == [("", False)]


async def test_who_waits_for_room_is_served_in_order_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, room, served = RoomWaits(), 0, list[str]()
    over = asyncio.Event()

    def attempt(name: str) -> bool:
        nonlocal room
        if room:
            room -= 1
            served.append(name)
            return True
        return False

    monkeypatch.setattr(room_waits, "ROOM_S", 600.0)
    waits.wait(lambda: attempt("a"), over.set)
    waits.wait(lambda: attempt("b"), over.set)
    monkeypatch.setattr(room_waits, "ROOM_S", 0.01)
    waits.wait(lambda: attempt("c"), over.set)
    room = 1
    waits.look()
    assert served == ["a"] and len(waits) == 2
    await asyncio.wait_for(over.wait(), 10)
    room = 2
    waits.look()
    assert served == ["a", "b"] and not waits
