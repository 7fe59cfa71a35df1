"""Errors of objects: those that are late, lost, freed or too large."""

from __future__ import annotations

from typing import Any

from ray.exceptions.base import RayError, _FixedError


class GetTimeoutError(RayError, TimeoutError):
    """ray.get waited for `timeout` seconds and not all objects were there."""


class ObjectStoreFullError(_FixedError):
    """The node's arena has no room for the object, also after evicting what may go."""

    default_text = (
        "The local object store is full of objects that are in use. Drop references, or start the node with a "
        "larger object_store_memory."
    )

    def __str__(self) -> str:
        given = RayError.__str__(self)
        return f"{given}\n{self.default_text}" if given else self.default_text


class OutOfDiskError(_FixedError):
    """The node's disk is too full to spill objects to."""

    default_text = "The local disk is too full to spill objects to. Free space, or drop references."

    def __str__(self) -> str:
        given = RayError.__str__(self)
        return f"{given}\n{self.default_text}" if given else self.default_text


class PlasmaObjectNotAvailable(RayError):
    """The object was not in the local object store within the time given."""


class ObjectLostError(RayError):
    """No copy of the object is left, and it could not be computed again.

    object_ref_hex: the object. owner_address: the process that made the ref, as text or raw bytes. call_site: where.
    """

    what = "was lost: every copy is gone, because nodes or object managers died"

    def __init__(self, object_ref_hex: str, owner_address: Any = None, call_site: str = "") -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex, self.owner_address, self.call_site = object_ref_hex, owner_address, call_site

    def __str__(self) -> str:
        text = f"Object {self.object_ref_hex} {self.what}."
        if self.call_site:
            text += f" Its reference was made at: {self.call_site}"
        return text


class ObjectFetchTimedOutError(ObjectLostError):
    """No holder of the object answered in time."""

    what = "could not be fetched in time from the nodes that hold it"


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object is freed although a reference exists: a bug, or a reference made by hand."""

    what = "was freed while a reference to it exists; references must not be made by hand from bytes"


class ObjectFreedError(ObjectLostError):
    """The program freed the object itself and used it afterwards."""

    what = "was freed by the program before this use"


class OwnerDiedError(ObjectLostError):
    """The process that made the ref is gone, and with it what it knew of the object."""

    what = "is lost because its owner, the process that made the reference, died"


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost and could not be computed again. reason: a key of REASON_MESSAGES."""

    REASON_MESSAGES = {  # noqa: RUF012 - a constant table, public upstream
        "PUT": "it was made by ray.put, which leaves nothing to compute it from",
        "MAX_ATTEMPTS_EXCEEDED": "what makes it has used its retries; give it more by max_retries or max_task_retries",
        "LINEAGE_EVICTED": "the record of how to compute it was dropped for lack of room; raise max_lineage_bytes",
        "CANCELLED": "the task that makes it was cancelled",
        "BORROWED": "its owner, not this process, would have to compute it",
        "LOCAL_MODE": "local mode keeps no record of how to compute it",
        "REF_NOT_FOUND": "its owner knows no such reference any more",
        "RETRIES_DISABLED": "what makes it has max_retries=0 or max_task_retries=0",
        "LINEAGE_DISABLED": "keeping records of how to compute objects is off",
    }

    def __init__(
        self,
        object_ref_hex: str,
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: Any = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)
        self.reason, self.reason_message = reason, reason_message

    @property
    def what(self) -> str:  # type: ignore[override]
        why = self.reason_message or self.REASON_MESSAGES.get(str(self.reason), "of an unknown reason")
        return f"was lost and cannot be computed again: {why}"


class ObjectRefStreamEndOfStreamError(RayError):
    """A streaming generator has no further object."""
