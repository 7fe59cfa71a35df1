"""Identities as users see them: typed, hashable wrappers around the byte strings of manta_common.ids."""

from __future__ import annotations

import builtins
import hashlib
import os
from typing import Any, ClassVar, TypeVar

from manta_common import ids

_Id = TypeVar("_Id", bound="BaseID")


class BaseID:
    """A byte string of a fixed size. Two are equal when their type and bytes are."""

    __slots__ = ("__weakref__", "_id")

    SIZE: ClassVar[int] = ids.NODE_ID_SIZE

    def __init__(self, id_bytes: bytes) -> None:
        if not isinstance(id_bytes, bytes):
            raise TypeError(f"{type(self).__name__} takes bytes, not {type(id_bytes).__name__}: {id_bytes!r}")
        if len(id_bytes) != self.SIZE:
            raise ValueError(f"{type(self).__name__} takes {self.SIZE} bytes, not {len(id_bytes)}: {id_bytes.hex()}")
        self._id = id_bytes

    @classmethod
    def from_binary(cls: type[_Id], id_bytes: bytes) -> _Id:
        return cls(id_bytes)

    @classmethod
    def from_hex(cls: type[_Id], hex_id: str) -> _Id:
        """raises: ValueError when `hex_id` is not hex digits, or not of this id's size."""
        return cls(bytes.fromhex(hex_id))

    @classmethod
    def nil(cls: type[_Id]) -> _Id:
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def size(cls) -> int:
        """Bytes of an id of this type."""
        return cls.SIZE

    def binary(self) -> bytes:
        return self._id

    def hex(self) -> str:
        return self._id.hex()

    def is_nil(self) -> bool:
        return self._id == b"\xff" * self.SIZE

    def redis_shard_hash(self) -> int:
        """A number that is the same in every process; kept for programs that shard by it."""
        return int.from_bytes(hashlib.blake2b(self._id, digest_size=8).digest(), "little")

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._id == other._id

    def __bytes__(self) -> bytes:
        return self._id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._id.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._id,)


class UniqueID(BaseID):
    """28 random bytes."""

    __slots__ = ()

    @classmethod
    def from_random(cls: type[_Id]) -> _Id:
        return cls(os.urandom(cls.SIZE))


class NodeID(UniqueID):
    """A node of the cluster; a node that comes back gets a new one."""

    __slots__ = ()


class WorkerID(UniqueID):
    """A driver or worker process."""

    __slots__ = ()
    SIZE = ids.WORKER_ID_SIZE


class FunctionID(UniqueID):
    """A definition of a function."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """A definition of an actor class."""

    __slots__ = ()


class ClusterID(UniqueID):
    """A cluster, for its whole life."""

    __slots__ = ()


class JobID(BaseID):
    """A driver's job: a number that counts up in its cluster."""

    __slots__ = ()
    SIZE = ids.JOB_ID_SIZE

    @classmethod
    def from_int(cls, value: builtins.int) -> JobID:
        """raises: OverflowError unless 0 <= value < 2**32."""
        return cls(ids.job_id(value))

    def int(self) -> builtins.int:
        return builtins.int.from_bytes(self._id, "big")


class ActorID(BaseID):
    """An actor: 12 bytes of its own, then its job."""

    __slots__ = ()
    SIZE = ids.ACTOR_ID_SIZE

    @classmethod
    def of(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> ActorID:
        """The id of the actor that a task creates as its `parent_task_counter`th child; the same when repeated."""
        return cls(_derived(parent_task_id, parent_task_counter, cls.SIZE - JobID.SIZE) + job_id.binary())

    @classmethod
    def from_random(cls) -> ActorID:
        return cls(os.urandom(cls.SIZE))

    @property
    def job_id(self) -> JobID:
        return JobID(self._id[-JobID.SIZE :])


class TaskID(BaseID):
    """A task: 8 bytes of its own, then its actor's id (all ones and the job for a task of no actor)."""

    __slots__ = ()
    SIZE = ids.TASK_ID_SIZE

    @classmethod
    def for_driver_task(cls, job_id: JobID) -> TaskID:
        return cls(b"\x00" * (cls.SIZE - ActorID.SIZE) + ids.NO_ACTOR + job_id.binary())

    @classmethod
    def for_fake_task(cls, job_id: JobID) -> TaskID:
        """An id for what no task made, unlike any other."""
        return cls(os.urandom(cls.SIZE - ActorID.SIZE) + ids.NO_ACTOR + job_id.binary())

    @classmethod
    def for_normal_task(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> TaskID:
        own = _derived(parent_task_id, parent_task_counter, cls.SIZE - ActorID.SIZE)
        return cls(own + ids.NO_ACTOR + job_id.binary())

    @classmethod
    def for_actor_creation_task(cls, actor_id: ActorID) -> TaskID:
        return cls(b"\x00" * (cls.SIZE - ActorID.SIZE) + actor_id.binary())

    @classmethod
    def for_actor_task(
        cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int, actor_id: ActorID
    ) -> TaskID:
        own = _derived(parent_task_id, parent_task_counter, cls.SIZE - ActorID.SIZE)
        return cls(own + actor_id.binary())

    def actor_id(self) -> ActorID:
        return ActorID(self._id[-ActorID.SIZE :])

    def job_id(self) -> JobID:
        return JobID(self._id[-JobID.SIZE :])


class PlacementGroupID(BaseID):
    """A placement group: 14 random bytes, then its job."""

    __slots__ = ()
    SIZE = 18

    @classmethod
    def of(cls, job_id: JobID) -> PlacementGroupID:
        return cls(os.urandom(cls.SIZE - JobID.SIZE) + job_id.binary())

    @classmethod
    def from_random(cls) -> PlacementGroupID:
        return cls(os.urandom(cls.SIZE))

    def job_id(self) -> JobID:
        return JobID(self._id[-JobID.SIZE :])


def _derived(parent: TaskID, counter: int, size: int) -> bytes:
    """`size` bytes that the parent and the counter determine."""
    return hashlib.blake2b(parent.binary() + counter.to_bytes(8, "little"), digest_size=size).digest()
