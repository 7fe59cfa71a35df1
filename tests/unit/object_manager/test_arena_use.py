"""What the raylet is told of the arena's use: once for each change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from manta_object_manager.arena_use import ArenaUse
from manta_proto.common.v1.common_pb2 import DRIVER, RAYLET
from manta_proto.object_manager.v1 import object_manager_pb2 as pb


class StandInClient:
    def __init__(self, role: int) -> None:
        self.hello = SimpleNamespace(role=role)
        self.closed = False
        self.told: list[int] = []

    def send(self, kind: int, message: Any) -> None:
        assert kind == pb.ARENA_USE
        self.told.append(message.used)


def test_raylets_are_told_what_has_changed_and_one_that_comes_anew_what_there_is() -> None:
    used = [0]
    raylet, driver = StandInClient(RAYLET), StandInClient(DRIVER)
    clients: list[Any] = [raylet, driver]
    use = ArenaUse(lambda: used[0], lambda: clients)
    for used[0] in (0, 5, 5, 3):
        use.tell()
    assert raylet.told == [0, 5, 3]
    assert driver.told == []
    raylet.closed = True
    again = StandInClient(RAYLET)
    clients.append(again)
    use.tell()
    assert again.told == [3]
    assert raylet.told == [0, 5, 3]
