"""Keys and values that users and libraries keep in the cluster, by namespace."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from manta_proto.gcs.v1 import gcs_pb2, records_pb2

from manta_gcs.kernel.commands import Command, Forget, Persist
from manta_gcs.kernel.record import Key, Table, id_of, record
from manta_gcs.kernel.refusal import INVALID, RequestRefused

MAX_KEY_BYTES = 4096
MAX_VALUE_BYTES = 48 * 1024 * 1024  # a message holds 64 MiB


class KeyValues:
    """The KV table; all of it is in memory."""

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = {}

    def restore(self, identity: str, stored: records_pb2.StoredKv) -> None:
        """Take in a record: id "<quoted namespace>/<key as hex>"; the message repeats neither."""
        namespace, _, key = identity.rpartition("/")
        self._values.setdefault(unquote(namespace), {})[bytes.fromhex(key)] = stored.value

    def put(self, request: gcs_pb2.KvPut) -> tuple[int, list[Command]]:
        """Store a value; returns 1 if the key is new, else 0 (also when overwrite is False and nothing changed)."""
        if not request.key or len(request.key) > MAX_KEY_BYTES:
            raise RequestRefused(INVALID, f"a KV key must have 1 to {MAX_KEY_BYTES} bytes, not {len(request.key)}")
        if len(request.value) > MAX_VALUE_BYTES:
            raise RequestRefused(
                INVALID,
                f"the KV value of {request.key[:80]!r} has {len(request.value)} bytes, over {MAX_VALUE_BYTES}; "
                "put it into the object store and keep its reference",
            )
        space = self._values.setdefault(request.ray_namespace, {})
        existed = request.key in space
        if existed and not request.overwrite:
            return 0, []
        space[request.key] = request.value
        stored = record(kv=records_pb2.StoredKv(value=request.value))
        return int(not existed), [Persist(_key(request.ray_namespace, request.key), stored)]

    def get(self, request: gcs_pb2.KvGet) -> bytes | None:
        return self._values.get(request.ray_namespace, {}).get(request.key)

    def delete(self, request: gcs_pb2.KvDelete) -> tuple[int, list[Command]]:
        """Delete a key, or all keys with a prefix; returns how many there were."""
        space = self._values.get(request.ray_namespace, {})
        doomed = self._matching(request.ray_namespace, request.key) if request.by_prefix else [request.key]
        gone = [key for key in doomed if space.pop(key, None) is not None]
        return len(gone), [Forget(_key(request.ray_namespace, key)) for key in gone]

    def keys(self, request: gcs_pb2.KvKeys) -> Sequence[bytes]:
        return self._matching(request.ray_namespace, request.prefix)

    def _matching(self, namespace: str, prefix: bytes) -> list[bytes]:
        return sorted(key for key in self._values.get(namespace, {}) if key.startswith(prefix))


def _key(namespace: str, key: bytes) -> Key:
    return Key(Table.KV, id_of(namespace, key))
