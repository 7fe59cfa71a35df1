"""What the node's processes told of their tasks and the GCS has not been sent yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from manta_common.ids import TASK_ID_SIZE
from manta_proto.gcs.v1 import task_pb2

LIMIT_BYTES: Final = 8 * 1024 * 1024


class TaskEventBacklog:
    """Bounded in bytes: while no GCS listens the oldest go, and how many tasks they told of is told later."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: deque[tuple[int, task_pb2.TaskEvents]] = deque()
        self._bytes = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, size: int, events: task_pb2.TaskEvents) -> None:
        """size: of the serialized message, bytes."""
        self._waiting.append((size, events))
        self._bytes += size
        while self._bytes > self._limit:
            gone_size, gone = self._waiting.popleft()
            self._bytes -= gone_size
            self.dropped += sum(len(tasks.task_ids) // TASK_ID_SIZE for tasks in gone.finished) + gone.dropped

    def take(self) -> Iterator[task_pb2.TaskEvents]:
        """All that waits, oldest first; they are the caller's from here on."""
        while self._waiting:
            size, events = self._waiting.popleft()
            self._bytes -= size
            events.dropped += self.dropped
            self.dropped = 0
            yield events
