"""What the core of the GCS wants done: the only output, performed by the shell in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from manta_proto.gcs.v1 import gcs_pb2, records_pb2

from manta_gcs.kernel.events import SessionId
from manta_gcs.kernel.record import Key


@dataclass(frozen=True, slots=True)
class Persist:
    """Write a record; it must not be changed afterwards."""

    key: Key
    record: records_pb2.StoredRecord


@dataclass(frozen=True, slots=True)
class Forget:
    key: Key


@dataclass(frozen=True, slots=True)
class Answer:
    """To a client; request_id 0 inside: pushed. Leaves only when all earlier writes are durable."""

    session: SessionId
    reply: gcs_pb2.GcsReply


@dataclass(frozen=True, slots=True)
class Tell:
    """To a raylet."""

    session: SessionId
    message: gcs_pb2.GcsToNode


@dataclass(frozen=True, slots=True)
class Close:
    """End a stream, after what was sent on it before."""

    session: SessionId
    reason: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """Another leader was or is obeyed: drop everything and campaign again.

    claimed_epoch: what the other is said to have.
    """

    reason: str
    claimed_epoch: int


class Level(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the log."""

    level: Level
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


Command = Persist | Forget | Answer | Tell | Close | StepDown | Note


def note(event: str, level: Level = Level.INFO, **fields: object) -> Note:
    """A log line; ids are shown in full as hex digits."""
    return Note(level, event, {name: v.hex() if isinstance(v, bytes) else v for name, v in fields.items()})
