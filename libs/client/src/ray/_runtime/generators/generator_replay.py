"""A generator that ended and runs again, for the sake of items that were lost.

Its items are taken apart from those of the first run, which may still be read: an item that was lost is made anew under
its id, of others only the copy is news. Nobody reads a replay, so its worker is held up by the window alone; it is
stopped once all that was lost is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray._runtime.generators.generator_stream import GeneratorStream
from ray._runtime.values.system_errors import error_value
from ray._runtime.values.wire import FIRST_ITEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manta_proto.common.v1 import common_pb2
    from manta_proto.worker.v1 import worker_pb2

    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer


class GeneratorReplay:
    """One further run. first: the index of the first item that was lost; those before it are not sent."""

    __slots__ = ("name", "peer", "stopped", "stream", "task_id")

    def __init__(self, record: TaskRecord, lost: Sequence[bytes]) -> None:
        self.task_id = record.task_id
        self.name = record.name
        self.stream = GeneratorStream(first=min(index_of(object_id) for object_id in lost))
        self.peer: Peer | None = None
        # It was told that no further item is wanted.
        self.stopped = False

    def errors(self, reply: worker_pb2.TaskReply, lost: Sequence[bytes]) -> dict[bytes, common_pb2.Value]:
        """What becomes of items that the run, which is over, should have made; others are worth another run.

        lost: items that are missing.
        """
        if reply.returns:  # it raised
            raised = reply.returns[0]
            error = raised.value if raised.HasField("value") else _unread(self.name)
            return dict.fromkeys(lost, error)
        if self.stopped:
            return {}
        beyond = [object_id for object_id in lost if index_of(object_id) >= reply.items_made]
        return {object_id: _inconsistent(self.name, index_of(object_id), reply.items_made) for object_id in beyond}


def index_of(object_id: bytes) -> int:
    """Which item of its generator an object is, counted from 0."""
    return int.from_bytes(object_id[-4:], "little") - FIRST_ITEM


def _inconsistent(name: str, index: int, made: int) -> common_pb2.Value:
    from ray.exceptions import StreamingGeneratorReplayInconsistentError

    text = (
        f"item {index} of {name} was lost, and when the generator ran again it made only {made} items: one whose items "
        "are to survive the loss of a node must yield the same on each run"
    )
    return error_value(StreamingGeneratorReplayInconsistentError(text))


def _unread(name: str) -> common_pb2.Value:
    from ray.exceptions import RaySystemError

    return error_value(
        RaySystemError(f"{name} ran again for items that were lost, and raised an error too large to tell")
    )
