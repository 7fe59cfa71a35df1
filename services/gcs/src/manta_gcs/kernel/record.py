"""Stored records: their tables, keys and the protocol version that begins each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

from google.protobuf.message import DecodeError
from manta_common.version import PROTOCOL, Version, VersionMismatch, check
from manta_proto.gcs.v1 import records_pb2


class Table(Enum):
    """The value is part of every key; never change one."""

    CLUSTER = "cluster"
    NODE = "node"
    JOB = "job"
    ACTOR = "actor"  # status
    ACTOR_SPEC = "actor_spec"
    DEFINITION = "definition"
    NAME = "name"
    KV = "kv"
    PLACEMENT_GROUP = "placement_group"


@dataclass(frozen=True, slots=True)
class Key:
    """A record's place: /manta/v1/<cluster>/<table>/<id>."""

    table: Table
    id: str

    def path(self, root: bytes) -> bytes:
        return root + f"{self.table.value}/{self.id}".encode()


class RecordError(Exception):
    """A stored record that cannot be used; the GCS must not start, for it would drop or overwrite it."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key, self.problem = key, problem

    def __str__(self) -> str:
        return f"stored record {self.key}: {self.problem}"


def root_of(cluster: str) -> bytes:
    """The prefix of all keys of a cluster."""
    return f"/manta/v1/{quote(cluster, safe='')}/".encode()


def id_of(*parts: str | bytes) -> str:
    """Join parts to an id that holds no foreign slash: text is quoted, bytes become hex digits."""
    return "/".join(part.hex() if isinstance(part, bytes) else quote(part, safe="") for part in parts)


def record(**body: Any) -> records_pb2.StoredRecord:
    """A record of our version with one body, by its field name."""
    return records_pb2.StoredRecord(version_major=PROTOCOL.major, version_minor=PROTOCOL.minor, **body)


def decode(key: bytes, value: bytes, root: bytes) -> tuple[Key, records_pb2.StoredRecord]:
    """Read a record. raises: RecordError naming the key, and both versions where they do not work together."""
    shown = key.decode(errors="replace")
    try:
        stored = records_pb2.StoredRecord.FromString(value)
    except DecodeError as error:
        raise RecordError(shown, f"its {len(value)} bytes are no record: {error}; restore the store") from error
    try:
        check(Version(stored.version_major, stored.version_minor), peer=f"the writer of {shown}")
    except VersionMismatch as error:
        raise RecordError(shown, str(error)) from error
    table_name, slash, identity = key.removeprefix(root).decode(errors="replace").partition("/")
    tables = {table.value: table for table in Table}
    if not slash or not identity or table_name not in tables:
        raise RecordError(shown, f"unknown table {table_name!r}; was it written by a newer GCS?")
    return Key(tables[table_name], identity), stored
