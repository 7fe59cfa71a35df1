"""Scheduling keys of a process: how many are kept, and what comes for those that are not."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from manta_proto.raylet.v1 import raylet_pb2
from ray._runtime.api import TaskOptions
from ray._runtime.specs.task_record import TaskRecord, Timing
from ray._runtime.tasks.lease_client import KEYS_KEPT, Leasing
from ray._runtime.tasks.lease_manager import SchedulingKey


class Link:
    """A raylet that notes what is given back."""

    node_id = b"n" * 28

    def __init__(self) -> None:
        self.returned: list[bytes] = []

    def give_back(self, lease_id: bytes, message: raylet_pb2.LeaseReturned) -> None:
        assert message.lease_id == lease_id
        self.returned.append(lease_id)


def process() -> Any:
    return SimpleNamespace(
        lock=threading.RLock(),
        job_id=b"\0\0\0\1",
        task_runtime_env=lambda env: env,
        dirty=set(),
        after_lock=lambda: None,
    )


def key(leasing: Leasing, number: int) -> SchedulingKey:
    return leasing.key_for(TaskOptions(resources={"CPU": 1, f"r{number}": 1}), "f")


def test_keys_that_nothing_waits_for_are_forgotten_once_there_are_many() -> None:
    leasing = Leasing(process())
    busy = key(leasing, 0)
    leasing.manager.submit(busy, TaskRecord(bytes(24), "t", 1, None, None, Timing(), 3))
    for number in range(1, 3 * KEYS_KEPT):
        key(leasing, number)
    assert len(list(leasing.manager.keys())) <= KEYS_KEPT
    assert key(leasing, 0) is busy
    assert leasing.manager.key_of(busy.request_id) is busy


def test_a_lease_that_comes_for_a_forgotten_key_goes_back() -> None:
    of = process()
    leasing, link = Leasing(of), Link()
    forgotten = key(leasing, 0)
    assert leasing.manager.forget(forgotten)
    raylet: Any = link
    leasing.on_granted(raylet, raylet_pb2.LeaseGranted(request_id=forgotten.request_id, lease_id=b"lease"))
    assert link.returned == [b"lease"] and of.dirty == {link}
