"""ray.cancel at the owner of a task: one that was not sent leaves its queue; what was asked for it is taken back."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.cancelling import Canceller
from ray._runtime.tasks.lease_client import Leasing
from ray._runtime.tasks.lease_manager import CancelLeases, LeaseManager

TASK = b"t" * 24


class Scene:
    def __init__(self) -> None:
        self.ended: list[TaskRecord] = []
        self.commands: list[Any] = []
        self.submitter: Any = SimpleNamespace(pending={}, end_locked=lambda record, _value: self.ended.append(record))
        self.process: Any = SimpleNamespace(
            lock=threading.RLock(),
            submitter=self.submitter,
            after_lock=lambda: None,
            reactor=SimpleNamespace(call_soon=lambda _call: None),
        )
        self.leasing = self.submitter.leasing = Leasing(self.process)
        self.leasing.queue = self.commands.extend  # type: ignore[method-assign]
        self.manager: LeaseManager = self.leasing.manager
        self.record = TaskRecord(TASK, "f", 1, None, None, Timing(), 3)
        self.submitter.pending[TASK] = self.record

    def cancel(self) -> None:
        Canceller(self.process).cancel(TASK, force=False, recursive=False)


def test_a_task_that_waits_near_its_arguments_is_withdrawn_from_there() -> None:
    scene = Scene()
    anywhere, near = scene.manager.new_key(None), scene.manager.new_key(None)
    scene.leasing.enqueue(scene.record, near)
    assert list(near.queue) == [scene.record] and near.asked.total == 1
    scene.cancel()
    assert not near.queue and not near.asked.total and not anywhere.asked.total
    assert [command.key for command in scene.commands if isinstance(command, CancelLeases)] == [near]
    assert scene.ended == [scene.record]


def test_a_task_that_waits_for_its_arguments_is_in_no_queue() -> None:
    scene = Scene()
    scene.cancel()
    assert scene.ended == [scene.record] and not scene.commands
