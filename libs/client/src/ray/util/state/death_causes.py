"""Why a process or an actor is no more, as the state tables tell it."""

from __future__ import annotations

from typing import Any, Final

from manta_proto.common.v1 import common_pb2

_Kind = common_pb2.DeathCause
_INTENDED_BY_SYSTEM: Final = (_Kind.OWNER_DIED, _Kind.JOB_FINISHED, _Kind.OUT_OF_SCOPE, _Kind.LEASE_HOLDER_DIED)
_INTENDED_BY_USER: Final = (_Kind.INTENDED, _Kind.KILLED)


def death_dict(cause: common_pb2.DeathCause) -> dict[str, Any]:
    told: dict[str, Any] = {"reason": _Kind.Kind.Name(cause.kind), "error_message": cause.message}
    if cause.exit_code:
        told["exit_code"] = cause.exit_code
    if cause.node_id:
        told["node_id"] = cause.node_id.hex()
    if cause.last_log_lines:
        told["last_log_lines"] = list(cause.last_log_lines)
    return told


def exit_type(cause: common_pb2.DeathCause) -> str:
    """Upstream's classes of ends of processes."""
    if cause.kind == _Kind.OUT_OF_MEMORY:
        return "NODE_OUT_OF_MEMORY"
    if cause.kind == _Kind.INIT_FAILED:
        return "USER_ERROR"
    if cause.kind in _INTENDED_BY_SYSTEM:
        return "INTENDED_SYSTEM_EXIT"
    return "INTENDED_USER_EXIT" if cause.kind in _INTENDED_BY_USER else "SYSTEM_ERROR"
