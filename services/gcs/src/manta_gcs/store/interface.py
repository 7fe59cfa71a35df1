"""What every store driver offers: records with revisions, txns with compares, watches and leases."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NewType

from manta_gcs.store.batching import Part, split_groups
from manta_gcs.store.errors import Fenced, OutcomeUnknown, StoreUnavailable
from manta_gcs.store.operations import Compare, Delete, LeaseId, Op, Put

Epoch = NewType("Epoch", int)  # rises with every change of leader


@dataclass(frozen=True, slots=True)
class Record:
    """A key's value and the revision of its last change."""

    key: bytes
    value: bytes
    revision: int


class EventKind(Enum):
    PUT = auto()
    DELETE = auto()  # by a delete or by the end of its lease; the event's value is empty


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one key."""

    kind: EventKind
    key: bytes
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of their revisions; never part of a revision; `revision` is that of the last."""

    events: tuple[WatchEvent, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Resync:
    """The changes wanted are no longer kept: here is all that exists under the prefix, as of `revision`.

    What the consumer knows and `records` lacks has been deleted. The watch goes on after `revision` by itself.
    """

    records: tuple[Record, ...]
    revision: int


WatchBatch = Changes | Resync


@dataclass(frozen=True, slots=True)
class TxnResult:
    """What a txn did.

    revision: the store's revision after it; that of its writes when it succeeded and changed something.
    seen: when a compare failed, the present records of the compared keys (absent ones are left out).
    """

    succeeded: bool
    revision: int
    seen: tuple[Record, ...] = ()


class Lease(ABC):
    """Keys put under it vanish when it ends; kept alive until revoked, abandoned or lost."""

    def __init__(self, lease_id: LeaseId, ttl_s: float, deadline: float) -> None:
        self.id = lease_id
        self.ttl_s = ttl_s
        self.deadline = deadline  # on time.monotonic(): until then the store surely holds the lease
        self.lost = asyncio.Event()  # set once the deadline passed or the store said that the lease is gone

    @abstractmethod
    async def revoke(self) -> None:
        """End the lease now; its keys are deleted. Raises StoreUnavailable or OutcomeUnknown."""

    @abstractmethod
    def abandon(self) -> None:
        """Stop keeping it alive without a word to the store: it ends when its time has run out."""


class Store(ABC):
    """A key-value store with revisions. One instance belongs to the event loop that opened it.

    Reads raise StoreUnavailable. Writes raise StoreUnavailable (surely not applied), OutcomeUnknown (perhaps
    applied) or ValueError (over the limits). A cancelled write has an unknown outcome.
    """

    @abstractmethod
    async def get(self, key: bytes) -> Record | None:
        """The newest state of a key; None when it does not exist."""

    @abstractmethod
    async def range(self, prefix: bytes) -> tuple[list[Record], int]:
        """All records whose keys begin with `prefix`, by key, as of one revision, and that revision.

        Fetched in pages. To follow on: watch(prefix, revision + 1).
        """

    @abstractmethod
    async def txn(self, compares: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
        """Apply all of `ops` at one revision if all of `compares` hold, else nothing.

        At most MAX_OPERATIONS operations and MAX_BYTES bytes; a key may be written once.
        """

    @abstractmethod
    def watch(self, prefix: bytes, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        """Every change under `prefix` from `from_revision` (included) on, each exactly once, for ever.

        Reconnects by itself and resumes after the last change delivered; where changes were lost to compaction
        it yields a Resync. from_revision: 1 or more. Raises StoreConfigError when the store refuses for good.
        """

    @abstractmethod
    async def grant_lease(self, ttl_s: float) -> Lease:
        """A new lease, kept alive in the background. ttl_s: seconds; the store may grant more."""

    @abstractmethod
    async def revision(self) -> int:
        """The store's present revision."""

    @abstractmethod
    async def compact(self, revision: int) -> None:
        """Forget changes before `revision`; records stay. One already forgotten is no error."""

    @abstractmethod
    async def close(self) -> None:
        """Stop everything of this store; leases are abandoned. May be called again."""

    async def put_if(self, key: bytes, value: bytes, revision: int, lease: LeaseId | None = None) -> TxnResult:
        """Put when the key's last change was at `revision` (0: when it does not exist)."""
        return await self.txn([Compare(key, revision)], [Put(key, value, lease)])

    async def delete(self, key: bytes, revision: int | None = None) -> TxnResult:
        """Delete a key, if given only when its last change was at `revision`."""
        return await self.txn([] if revision is None else [Compare(key, revision)], [Delete(key)])

    async def write(self, groups: Sequence[Sequence[Op]], fence: Compare) -> int:
        """Write groups of operations in order, each group in one txn, every txn under the fence.

        Within one txn the last operation on a key wins. Returns the revision of the last txn. No group at all
        only checks the fence. Raises Fenced; OutcomeUnknown also when some parts were applied and others not;
        ValueError, before anything is written, when one group alone exceeds the limits.
        """
        parts = split_groups(groups) or [Part(())]
        revision = 0
        for index, part in enumerate(parts):
            try:
                result = await self.txn([fence], part.ops)
            except StoreUnavailable as error:
                if index == 0:
                    raise
                raise OutcomeUnknown(f"write of {len(parts)} parts", f"part {index + 1}: {error.reason}") from error
            if not result.succeeded:
                holder = next((record for record in result.seen if record.key == fence.key), None)
                raise Fenced(
                    fence.key, fence.revision, holder.revision if holder else 0, holder.value if holder else b""
                )
            revision = result.revision
        return revision
