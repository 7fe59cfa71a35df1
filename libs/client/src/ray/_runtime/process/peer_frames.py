"""What peers say on call channels, handed to the parts of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.process.returned_frames import ReturnedFrames

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer


class PeerFrames:
    """The dispatch of one process. It runs on the thread that reads, which is on no lock."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._returned = ReturnedFrames(process)

    def dispatch(self, peer: Peer, kind: int, payload: bytes) -> None:
        """Hand one frame to the part that it concerns.

        raises: ValueError, DecodeError for what no correct peer sends; the connection ends then.
        """
        process = self._process
        if kind == worker_pb2.REPLIES:
            process.submitter.on_replies(peer, worker_pb2.Replies.FromString(payload))
        elif kind == worker_pb2.TASKS:
            if process.is_driver:
                raise ValueError("a driver takes no tasks")
            process.executor.on_tasks(peer, worker_pb2.Tasks.FromString(payload))
        elif kind == worker_pb2.GENERATOR_ITEMS:
            process.generators.on_items(peer, worker_pb2.GeneratorItems.FromString(payload))
        elif kind == worker_pb2.GENERATOR_PROGRESS:
            process.item_senders.on_progress(worker_pb2.GeneratorProgress.FromString(payload))
        elif kind == worker_pb2.GENERATOR_DROPPED:
            process.item_senders.on_dropped(worker_pb2.GeneratorDropped.FromString(payload))
        elif kind == worker_pb2.OBJECTS_WANTED:
            process.inquiries.on_wanted(peer, worker_pb2.ObjectsWanted.FromString(payload))
        elif kind == worker_pb2.OBJECTS:
            process.inquiries.on_objects(worker_pb2.Objects.FromString(payload))
        elif kind == worker_pb2.HOLDS:
            process.holds.on_holds(peer, worker_pb2.Holds.FromString(payload))
        elif kind == worker_pb2.HOLDS_ACKNOWLEDGED:
            process.holds.on_acknowledged(peer, worker_pb2.HoldsAcknowledged.FromString(payload))
        elif kind == worker_pb2.HOLD_QUESTIONED:
            process.holds.on_question(peer, worker_pb2.HoldQuestioned.FromString(payload))
        elif kind == worker_pb2.REPLY_DEFERRED:
            process.submitter.on_reply_deferred(worker_pb2.ReplyDeferred.FromString(payload).task_id)
        elif kind == worker_pb2.HANDED_BACK:
            process.submitter.on_handed_back(peer, worker_pb2.HandedBack.FromString(payload))
        elif kind == worker_pb2.DEFINITION_WANTED:
            wanted = worker_pb2.DefinitionWanted.FromString(payload)
            self._send_definition(peer, wanted.digest)
        elif kind == worker_pb2.DEFINITION:
            process.executor.calls.on_definition(worker_pb2.Definition.FromString(payload))
        elif kind == worker_pb2.CANCEL:
            process.executor.on_cancel(worker_pb2.Cancel.FromString(payload))
        elif kind == worker_pb2.FRAME_RETURNED:
            self._returned.take(peer, worker_pb2.FrameReturned.FromString(payload))
        else:
            raise ValueError(f"unknown frame kind {kind}")

    def _send_definition(self, peer: Peer, digest: bytes) -> None:
        """A worker of ours has dropped a definition and needs it again; an empty one when no task here does."""
        pickled = b""
        for record in list(self._process.submitter.pending.values()):
            if record.definition is not None and record.definition.digest == digest:
                pickled = record.definition.pickled
                break
        peer.send(worker_pb2.DEFINITION, worker_pb2.Definition(digest=digest, pickled=pickled).SerializeToString())
