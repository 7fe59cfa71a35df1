"""Large values in chunks: keyed by content hash, written before the record that names them, once per hash."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from typing import Final

from manta_gcs.store.errors import ChunksDamaged
from manta_gcs.store.interface import Store
from manta_gcs.store.operations import Compare, DeleteRange, Put

CHUNK_BYTES: Final = 256 * 1024
THREAD_BYTES: Final = 1024 * 1024  # hashing more than this would stall the event loop for over a millisecond
KNOWN_LIMIT: Final = 10_000  # digests remembered as saved; beyond it the oldest are asked for again
FORMAT: Final = (1, 0)  # of the manifest: major, minor

_MANIFEST: Final = struct.Struct(">HHQI")  # major, minor, bytes of the value, number of chunks


def needs_chunks(value: bytes) -> bool:
    """Whether a value is too large to stand in a record."""
    return len(value) > CHUNK_BYTES


class Chunks:
    """Values under `<prefix><hash>/`: the chunks by number, and last of all the manifest, which makes them whole.

    One leader at a time writes, under its fence; deleting a value that is being saved is for it to avoid.
    """

    def __init__(self, store: Store, prefix: bytes) -> None:
        """prefix: a table of its own, ending with a slash, as b'/manta/v1/<cluster>/chunks/'."""
        if not prefix.endswith(b"/"):
            raise ValueError(f"the prefix {prefix!r} of a chunk table must end with a slash")
        self._store, self._prefix = store, prefix
        self._known: dict[str, None] = {}

    async def save(self, value: bytes, fence: Compare) -> str:
        """Store a value unless it is there already; returns its digest, for the record that names it.

        raises: what Store.write raises. An interrupted save leaves chunks without manifest; the next one
        of the same value completes them.
        """
        digest = await _digest(value)
        if digest in self._known or await self._store.get(self._manifest_key(digest)) is not None:
            self._remember(digest)
            return digest
        pieces = [value[start : start + CHUNK_BYTES] for start in range(0, len(value), CHUNK_BYTES)]
        manifest = _MANIFEST.pack(*FORMAT, len(value), len(pieces))
        groups = [[Put(self._chunk_key(digest, index), piece)] for index, piece in enumerate(pieces)]
        await self._store.write([*groups, [Put(self._manifest_key(digest), manifest)]], fence)
        self._remember(digest)
        return digest

    async def load(self, digest: str) -> bytes:
        """The value; raises ChunksDamaged when it is not there, not whole or altered."""
        records, _ = await self._store.range(self._folder(digest))
        by_key = {record.key: record.value for record in records}
        manifest = by_key.pop(self._manifest_key(digest), None)
        if manifest is None:
            raise ChunksDamaged(digest, f"no manifest among {len(records)} records")
        if len(manifest) != _MANIFEST.size:
            raise ChunksDamaged(digest, f"a manifest of {len(manifest)} bytes")
        major, minor, size, count = _MANIFEST.unpack(manifest)
        if major != FORMAT[0]:
            raise ChunksDamaged(digest, f"written in format {major}.{minor}, this GCS reads {FORMAT[0]}.{FORMAT[1]}")
        missing = [index for index in range(count) if self._chunk_key(digest, index) not in by_key]
        if missing:
            raise ChunksDamaged(digest, f"chunks {missing[:5]} of {count} are missing")
        value = b"".join(by_key[self._chunk_key(digest, index)] for index in range(count))
        if len(value) != size or await _digest(value) != digest:
            raise ChunksDamaged(digest, "the content does not match the hash")
        return value

    async def delete(self, digest: str, fence: Compare) -> None:
        """Remove a value that no record names any more."""
        self._known.pop(digest, None)
        await self._store.write([[DeleteRange(self._folder(digest))]], fence)

    async def digests(self) -> set[str]:
        """All values of which anything is stored, whole or not. cost: reads the whole table."""
        records, _ = await self._store.range(self._prefix)
        return {record.key[len(self._prefix) :].partition(b"/")[0].decode() for record in records}

    def forget(self) -> None:
        """Trust nothing remembered: for a replica that loads again after it lost the leadership."""
        self._known.clear()

    def _remember(self, digest: str) -> None:
        self._known[digest] = None
        if len(self._known) > KNOWN_LIMIT:
            del self._known[next(iter(self._known))]

    def _folder(self, digest: str) -> bytes:
        return self._prefix + digest.encode() + b"/"

    def _manifest_key(self, digest: str) -> bytes:
        return self._folder(digest) + b"manifest"

    def _chunk_key(self, digest: str, index: int) -> bytes:
        return self._folder(digest) + f"{index:08d}".encode()


async def _digest(value: bytes) -> str:
    if len(value) <= THREAD_BYTES:
        return hashlib.sha256(value).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(value).hexdigest())
