"""Why a process is no more, in words and codes."""

from __future__ import annotations

from collections.abc import Sequence

from manta_common.ids import NodeId, WorkerId
from manta_proto.common.v1 import common_pb2


def cause_of_exit(
    decided: common_pb2.DeathCause | None, status: int | None, lines: Sequence[str], node_id: NodeId, pid: int
) -> common_pb2.DeathCause:
    """The cause of a process that ended.

    decided: what was said before it ended, which then counts. status: exit code, or minus the signal; None when
    nobody could tell. lines: the last of its standard error.
    """
    cause = common_pb2.DeathCause()
    if decided is not None:
        cause.CopyFrom(decided)
    else:
        cause.kind = common_pb2.DeathCause.WORKER_DIED
        cause.message = _describe(status)
        cause.last_log_lines.extend(lines)
    if status is not None:
        cause.exit_code = status
    cause.node_id = node_id
    cause.pid = pid
    return cause


def node_cause(info: common_pb2.NodeInfo) -> common_pb2.DeathCause:
    """The cause of every process on a node that died."""
    message = f"node {info.node_id.hex()} died"
    if info.HasField("death_cause") and info.death_cause.message:
        message += f": {info.death_cause.message}"
    return common_pb2.DeathCause(kind=common_pb2.DeathCause.NODE_DIED, message=message, node_id=info.node_id)


def dead(node_id: NodeId, worker_id: WorkerId, cause: common_pb2.DeathCause) -> common_pb2.DeadWorker:
    return common_pb2.DeadWorker(address=common_pb2.WorkerAddress(node_id=node_id, worker_id=worker_id), cause=cause)


def _describe(status: int | None) -> str:
    if status is None:
        return "the process ended; its exit status could not be read"
    if status < 0:
        return f"the process was ended by signal {-status}"
    return f"the process ended with exit code {status}"
