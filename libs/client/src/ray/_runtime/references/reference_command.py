"""What the reference counter asks its shell to do.

Commands are tuples because the most frequent one, Free, is made once per short-lived object. Tuples of two kinds
with equal fields compare equal, so tell them apart by type, not by ==.
"""

from typing import NamedTuple, TypeAlias


class Free(NamedTuple):
    """Delete a value that this process owns: nothing anywhere uses it any more."""

    object_id: bytes


class Forget(NamedTuple):
    """Let go of the cached value and the pin of a borrowed object; this process no longer uses it."""

    object_id: bytes


class OwnerDied(NamedTuple):
    """From now on a get of this borrowed object raises OwnerDiedError."""

    object_id: bytes


class Gone(NamedTuple):
    """From now on a get of this object raises ObjectLostError: its owner had freed it before we registered."""

    object_id: bytes


class ReplyReady(NamedTuple):
    """The reply of a finished task may leave; it carries `kept`, pairs of an object of the caller and a number."""

    task_id: bytes
    kept: tuple[tuple[bytes, int], ...]


class WatchProcess(NamedTuple):
    """Report the death of this process by process_died, at once if it is dead already."""

    worker_id: bytes


class SendAdd(NamedTuple):
    """Ask `owner` to count `holder`; answered by an Ack of the same request_id."""

    owner: bytes
    object_id: bytes
    holder: bytes
    tag: bytes  # empty for a borrower; else names the container and who filled it
    number: int  # names the borrow that begins; 0 for containers
    request_id: int


class SendDrop(NamedTuple):
    """Tell `owner` that `holder` let go; answered by an Ack only when there is a tag."""

    owner: bytes
    object_id: bytes
    holder: bytes
    tag: bytes
    number: int
    request_id: int


class SendAck(NamedTuple):
    """Answer a request of `worker_id`; `gone` when the object to be counted is freed already."""

    worker_id: bytes
    request_id: int
    gone: bool


class SendFullSet(NamedTuple):
    """Tell `owner`, first of all on a new connection, every borrow of its objects as (object_id, number)."""

    owner: bytes
    request_id: int
    holds: tuple[tuple[bytes, int], ...]


class SendConfirm(NamedTuple):
    """Ask `worker_id` whether it ever took over the container hold that `adder`, now dead, made for it."""

    worker_id: bytes
    object_id: bytes
    tag: bytes
    adder: bytes


Command: TypeAlias = (
    Free
    | Forget
    | OwnerDied
    | Gone
    | ReplyReady
    | WatchProcess
    | SendAdd
    | SendDrop
    | SendAck
    | SendFullSet
    | SendConfirm
)
