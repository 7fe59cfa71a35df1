"""Computing lost objects again: the shell around Lineage, which decides.

All methods but `resubmit` run under the process's lock, and their callers call after_lock once they have left it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

from manta_proto.worker.v1 import worker_pb2

from ray._runtime.actors.actor_record import HANDLE_PREFIX
from ray._runtime.objects.object_table import ObjectState
from ray._runtime.references import lineage
from ray._runtime.references.lineage import Lineage, Reason
from ray._runtime.specs.task_ids import is_put
from ray._runtime.tasks import arguments
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import not_computed

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2

    from ray._runtime.objects.object_table import ObjectEntry
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.transport.carrier import Peer

log = logging.getLogger("ray.runtime")

# What a kept specification takes beside its message, measured with tracemalloc: bytes.
_OVERHEAD: Final = 1_400
# Of the arena, so much may be held for the sake of specifications only: values that nothing could make again.
_HELD_PART: Final = 4


class Kept(NamedTuple):
    """The specification of a task.

    needed: arguments that another run takes; held: those of them that are kept with their values, which have `stored`
    bytes in arenas.
    """

    record: TaskRecord
    needed: tuple[bytes, ...]
    held: tuple[bytes, ...]
    stored: int


class Recovery:
    """Keeps what `process` needs to compute lost objects of its own again, and does so."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.lineage = Lineage()
        # Read on the hot path: while it is empty nothing that is freed matters here.
        self.specs = self.lineage.specs
        self._kept: dict[bytes, Kept] = {}
        self._held_stored = 0
        # Of this node's arena, bytes; 0 before this process has used it.
        self.arena_size = 0

    # -- ends of tasks

    def sift(self, peer: Peer, record: TaskRecord, reply: worker_pb2.TaskReply) -> None:
        """Take out of the reply of a task that ran again what was not lost: the objects stay what they are."""
        process = self._process
        results = list(reply.returns)
        del reply.returns[:]
        for result in results:
            entry = process.objects.get(result.object_id)
            if entry is None or entry.state is ObjectState.PENDING:
                reply.returns.append(result)
                continue
            if result.HasField("stored"):
                process.frees.copies(result.object_id, [n for n in result.stored.node_ids if n not in entry.nodes])
            contained = result.contained if result.HasField("stored") else result.value.contained
            inners = [(ref.object_id, ref.owner.worker_id) for ref in contained]
            process.holds.apply(process.refs.result_contains(result.object_id, peer.worker_id, inners))

    def item_stored(self, record: TaskRecord, object_id: bytes) -> None:
        """A generator made an item that lies in an arena and is referenced."""
        if record.kept or record.retries_left or record.attempt:
            self.lineage.item_stored(record.task_id, object_id)

    def finished(self, record: TaskRecord, stored: list[bytes], made: Iterable[bytes] = ()) -> None:
        """A task ended, and its arguments are counted still. stored: results in arenas that are referenced.

        made: its other results that have a value now.
        """
        if not record.kept and not record.retries_left and not record.attempt:
            return  # it may never run again
        process, task_id = self._process, record.task_id
        if not (stored or record.kept or task_id in self.specs):
            return  # a generator without items that could be lost
        for object_id in made:
            self.lineage.made(object_id)
        needed, held, size, in_arenas = self._arguments(record)
        before = self._kept.get(task_id)
        self._kept[task_id] = Kept(record, tuple(needed), held, in_arenas)
        self._held_stored += in_arenas
        record.kept = True
        for object_id in held:
            process.refs.add_local(object_id)
        self._perform(
            self.lineage.finished(task_id, stored, needed, _OVERHEAD + len(record.message) + size, record.retries_left)
        )
        if before is not None:
            self._let_go(before)

    def failed(self, record: TaskRecord, value: common_pb2.Value) -> None:
        """A task that ran again ended without a reply: what it was to make is that error."""
        objects = self._process.objects
        lost = [object_id for object_id in record.return_ids() if _is_pending(objects.get(object_id))]
        lost = list(dict.fromkeys((*lost, *self.lineage.missing(record.task_id))))
        for object_id in lost:
            self._set_value(object_id, value)
        self.finished(record, [], lost)

    def _arguments(self, record: TaskRecord) -> tuple[dict[bytes, Reason], tuple[bytes, ...], int, int]:
        """What another run needs: ids, those of them to be held with their values, their bytes here and in arenas.

        Values that are part of the message are not among them.
        """
        ids = record.held
        if not ids:
            return {}, (), 0, 0
        if not record.kept:
            # A value that came inline is in the message: it is needed no more.
            message = worker_pb2.Task.FromString(record.message)
            inline = {index for index, argument in enumerate(message.arguments) if argument.HasField("value")}
            ids = tuple(object_id for index, object_id in enumerate(ids) if index not in inline)
        process = self._process
        needed: dict[bytes, Reason] = {}
        held: list[bytes] = []
        here = in_arenas = 0
        room = self.arena_size // _HELD_PART - self._held_stored
        for object_id in dict.fromkeys(ids):
            entry = process.objects.get(object_id)
            needed[object_id] = _why_not(object_id, entry)
            if entry is None or entry.owner is not None or object_id.startswith(HANDLE_PREFIX):
                continue  # its owner says how long it lives
            if entry.state is ObjectState.STORED:
                if self.lineage.makes(object_id) or in_arenas + entry.size > room:
                    continue
                in_arenas += entry.size
            elif entry.value is not None:
                here += entry.value.ByteSize()
            held.append(object_id)
        return needed, tuple(held), here + in_arenas, in_arenas

    # -- ends of objects

    def freed(self, object_id: bytes) -> None:
        """Nothing refers to an object of ours, or to one that we borrowed, any more."""
        self._perform(self.lineage.freed(object_id))

    def copies_lost(self, object_id: bytes, nodes: Iterable[bytes], generation: int) -> None:
        """No copy of an object of ours is at these nodes. generation: which copies were looked for."""
        process = self._process
        entry = process.objects.get(object_id)
        if entry is None or entry.owner is not None or entry.generation != generation:
            return  # it was made again since
        if process.objects.drop_nodes(object_id, set(nodes)) == ():
            process.objects.forget_copies(object_id)
            process.generators.item_lost(object_id)
            log.debug("object_lost object_id=%s nodes=%s", object_id.hex(), ",".join(node.hex() for node in nodes))
            self._perform(self.lineage.lost(object_id, _why_not(object_id, entry)))

    def node_lost(self, node_id: bytes) -> None:
        """A node is gone with its arena: what only it had is computed again now, as somebody may wait for it."""
        objects = self._process.objects
        reruns = self.lineage.reruns
        lost = 0
        for object_id in objects.stored_at(node_id):
            entry = objects.get(object_id)
            if entry is not None:
                self.copies_lost(object_id, (node_id,), entry.generation)
                lost += entry.state is not ObjectState.STORED
        if lost:
            log.warning(
                "objects_lost node_id=%s objects=%d tasks_run_again=%d",
                *(node_id.hex(), lost, self.lineage.reruns - reruns),
            )

    # -- commands

    def _perform(self, commands: lineage.Commands) -> None:
        process = self._process
        revived: list[bytes] = []
        for command in commands:
            if type(command) is lineage.Revive:
                # Its first copies went when it was freed: what comes is not an item that is still due.
                process.objects.create(command.object_id).generation = 1
                process.refs.create(command.object_id)
                revived.append(command.object_id)
            elif type(command) is lineage.Rerun:
                self._rerun(self._kept[command.task_id])
            elif type(command) is lineage.Fail:
                process.task_events.look_later()
                log.debug(
                    "object_not_recovered object_id=%s reason=%s because_of=%s",
                    *(command.object_id.hex(), command.reason.name, command.culprit.hex()),
                )
                error = not_computed(command.object_id, command.reason.value, command.culprit)
                self._set_value(command.object_id, error)
            elif type(command) is lineage.Release:
                self._let_go(self._kept.pop(command.task_id))
        for object_id in revived:
            # From here on those tasks count it that take it.
            process.drops.note(object_id)

    def _rerun(self, kept: Kept) -> None:
        process, record = self._process, kept.record
        record.held = kept.needed
        if record.generator is not None:
            process.generators.replay(record)
        record.next_attempt()
        record.deferred = False
        record.tried_at = ()
        record.told = 0
        record.created_at, record.queued_at, record.sent_at = time(), 0.0, 0.0
        process.refs.task_submitted(record.held)
        process.submitter.pending[record.task_id] = record
        log.debug(
            "task_reconstructed task_id=%s name=%s attempt=%d retries_left=%d",
            *(record.task_id.hex(), record.name, record.attempt, record.retries_left),
        )
        process.woken.append((self.resubmit, record.task_id))

    def _let_go(self, kept: Kept) -> None:
        self._held_stored -= kept.stored
        for object_id in kept.held:
            # Not counted at once: we may be in the midst of the counter's commands, whose messages are numbered.
            self._process.drops.note(object_id)

    def _set_value(self, object_id: bytes, value: common_pb2.Value) -> None:
        process = self._process
        waiters = process.objects.set_value(object_id, value)
        process.woken.extend((waiter, object_id) for waiter in waiters)

    # -- submitting again; without the lock

    def resubmit(self, task_id: bytes) -> None:
        """Have the task leave as soon as its arguments are there."""
        process = self._process
        record = process.submitter.pending.get(task_id)
        if record is None:
            return  # cancelled, or the cluster is out of reach
        if process.submitter.cut_off_by is not None:
            # It was lost after everything that was pending had ended.
            process.submitter.end(record, process.submitter.cut_off_by)
            return
        message = worker_pb2.Task.FromString(record.message)
        message.backpressure = 0  # nobody reads
        # Until all arguments are there the task shows as one that waits for them.
        record.message = b""
        refs = [
            ObjectRef(argument.ref.object_id, (argument.ref.owner.node_id, argument.ref.owner.worker_id))
            for argument in message.arguments
            if argument.HasField("stored")
        ]
        arguments.when_ready(process, record, refs, lambda: self._complete(record, message, refs))

    def _complete(self, record: TaskRecord, message: worker_pb2.Task, refs: list[ObjectRef]) -> None:
        process = self._process
        with process.lock:
            error = arguments.first_error(process.objects, refs)
            arguments.refresh(process, message)
            record.message = message.SerializeToString()
        if error is not None:
            process.submitter.end(record, error)
        elif record.actor_id:
            process.actors.resubmit(record)
        else:
            assert record.options is not None and record.options.cache is not None, "it was submitted before"
            with process.lock:
                key = process.submitter.leasing.key_near(record.options.cache.key, refs)
            process.submitter.ready(record, key)


def _is_pending(entry: ObjectEntry | None) -> bool:
    return entry is not None and entry.state is ObjectState.PENDING


def _why_not(object_id: bytes, entry: ObjectEntry | None) -> Reason:
    """Why an object cannot be computed when no kept specification makes it."""
    if entry is None or object_id.startswith(HANDLE_PREFIX):
        return Reason.REF_NOT_FOUND
    if entry.owner is not None:
        return Reason.BORROWED
    return Reason.PUT if is_put(object_id) else Reason.RETRIES_DISABLED
