"""What other processes' ends mean for this one: deaths, broken channels, a cluster that is out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_proto.common.v1 import common_pb2

from ray._runtime.objects.object_table import ObjectState
from ray._runtime.values.system_errors import error_value

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Peer


class Losses:
    """Tells the parts of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def worker_died(self, worker_id: bytes, cause: common_pb2.DeathCause | None) -> None:
        """A declared, final death."""
        process = self._process
        process.peers.drain(worker_id)
        with process.lock:
            commands = process.refs.process_died(worker_id)
            process.holds.apply(commands)
        process.submitter.on_worker_died(worker_id, cause)
        process.actors.on_worker_died(worker_id)
        process.inquiries.on_worker_died(worker_id)
        process.item_senders.caller_died(worker_id)
        with process.lock:
            process.frees.worker_died(worker_id)
        process.peers.died(worker_id)
        process.after_lock()

    def node_died(self, node: common_pb2.NodeInfo) -> None:
        """All processes of the node are dead, and its copies of objects are gone."""
        process = self._process
        cause = common_pb2.DeathCause(
            kind=common_pb2.DeathCause.NODE_DIED, message=node.death_cause.message, node_id=node.node_id
        )
        workers = list(process.peers.of_node(node.node_id))
        for worker_id in workers:
            # First, so that no call that is repeated for a lost result is sent to an actor that died there.
            process.actors.on_worker_died(worker_id)
        with process.lock:
            # Ahead of further attempts, so that a generator's is asked for the items that were lost.
            process.recovery.node_lost(node.node_id)
        for worker_id in workers:
            self.worker_died(worker_id, cause)
        process.after_lock()

    def peer_lost(self, peer: Peer) -> None:
        """A channel broke; whether the process is dead, its raylet says."""
        process = self._process
        if process.closing or peer.dead:
            return
        with process.lock:
            process.watch(peer)
        process.after_lock()
        if not peer.session.kept:
            self.peer_forgot(peer)

    def peer_forgot(self, peer: Peer) -> None:
        """What was asked over a broken connection may be lost: the peer keeps no session."""
        self._process.inquiries.ask_again(peer.worker_id)

    def cut_off(self, error: Exception) -> None:
        """Nothing more will come from the cluster: what waits for it fails with `error`, now and later."""
        process = self._process
        process.gcs.fail(error)
        value = error_value(error)
        process.submitter.cut_off(value)
        with process.lock:
            waiting = [object_id for object_id, entry in process.objects if entry.state is ObjectState.PENDING]
            for object_id in waiting:
                process.woken.extend((waiter, object_id) for waiter in process.objects.set_value(object_id, value))
        process.after_lock()
