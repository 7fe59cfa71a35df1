"""What happens to the GCS: the only input of its core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from manta_common.ids import NodeId
from manta_proto.gcs.v1 import gcs_pb2

# Numbers a stream for as long as this process lives; never reused.
SessionId = NewType("SessionId", int)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened, in seconds: `steady` never jumps and counts timeouts, `wall` is Unix time."""

    steady: float
    wall: float


@dataclass(frozen=True, slots=True)
class ClientAsked:
    at: Moment
    session: SessionId
    request: gcs_pb2.ClientRequest


@dataclass(frozen=True, slots=True)
class ClientLeft:
    at: Moment
    session: SessionId


@dataclass(frozen=True, slots=True)
class NodeAttached:
    at: Moment
    session: SessionId
    message: gcs_pb2.AttachNode


@dataclass(frozen=True, slots=True)
class NodeSaid:
    at: Moment
    session: SessionId
    node_id: NodeId
    message: gcs_pb2.NodeToGcs


@dataclass(frozen=True, slots=True)
class NodeDetached:
    at: Moment
    session: SessionId
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class TimePassed:
    at: Moment


CoreEvent = ClientLeft | NodeAttached | NodeSaid | NodeDetached | TimePassed
Event = ClientAsked | CoreEvent
