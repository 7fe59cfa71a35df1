"""Turns a batch's records into store operations; large ones go to chunks first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from manta_proto.gcs.v1 import records_pb2

from manta_gcs.kernel.commands import Forget, Persist
from manta_gcs.kernel.record import record
from manta_gcs.store import Chunks, Compare, Delete, Op, Put, Store, needs_chunks
from manta_gcs.store.operations import MAX_BYTES, MAX_OPERATIONS, size_of

Write = Persist | Forget


class RecordWriter:
    """Writes under one leader's fence. Each event's writes stay together, as far as one txn can hold them."""

    def __init__(self, store: Store, chunks: Chunks, root: bytes, fence: Compare) -> None:
        self._store, self._chunks, self._root, self._fence = store, chunks, root, fence
        self._chunked: dict[bytes, str] = {}  # key -> digest of the chunks its record stands for
        self._users: Counter[str] = Counter()

    def adopt(self, key: bytes, digest: str) -> None:
        """A loaded record that stands for chunks."""
        self._chunked[key] = digest
        self._users[digest] += 1

    @property
    def digests(self) -> set[str]:
        """What is stored in chunks and used."""
        return set(self._users)

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        """Write all groups, in order. Nothing at all is no call to the store.

        raises: what Store.write raises; after StoreUnavailable the same call may be repeated.
        """
        prepared = [part for group in groups for part in split(await self._operations(group))]
        if prepared:
            await self._store.write(prepared, self._fence)
        for digest in [digest for digest, users in self._users.items() if users <= 0]:
            await self._chunks.delete(digest, self._fence)
            del self._users[digest]  # last, so that a repeat after a failure deletes it too

    async def _operations(self, group: Sequence[Write]) -> list[Op]:
        operations: list[Op] = []
        for write in group:
            path = write.key.path(self._root)
            if isinstance(write, Forget):
                self._release(path)
                operations.append(Delete(path))
            else:
                operations.append(Put(path, await self._value(path, write.record)))
        return operations

    async def _value(self, path: bytes, stored: records_pb2.StoredRecord) -> bytes:
        value = stored.SerializeToString()
        if not needs_chunks(value):
            self._release(path)
            return value
        digest = await self._chunks.save(value, self._fence)
        if self._chunked.get(path) != digest:
            self._release(path)
            self.adopt(path, digest)
        return record(chunks=records_pb2.StoredChunks(digest=digest)).SerializeToString()

    def _release(self, path: bytes) -> None:
        digest = self._chunked.pop(path, None)
        if digest is not None:
            self._users[digest] -= 1


def split(operations: Sequence[Op]) -> list[list[Op]]:
    """Cut what exceeds one txn, such as the end of a job with a thousand actors; loading mends a half-done one."""
    parts: list[list[Op]] = []
    size = 0
    for operation in operations:
        added = size_of(operation)
        if not parts or len(parts[-1]) >= MAX_OPERATIONS or size + added > MAX_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(operation)
        size += added
    return parts
