"""What can go wrong with the node's arena; the runtime turns these into the public exceptions.

ArenaError
├── ArenaFull            drop references or views, then try again
├── ObjectNotFound       no copy at the nodes named; ask the owner, or compute it again
├── ArenaRefused         a bug of the caller
├── ArenaEntered         this thread is reading: wait on another one
ArenaDisconnected        (ConnectionError) the object manager is gone; the next call waits for its successor
└── ArenaAway            there was none for as long as one waits
    └── ArenaBusy        another thread is connecting at this moment
ArenaTimeout             (TimeoutError) the object was not here in time; ask again
"""

from collections.abc import Sequence

from manta_proto.object_manager.v1 import object_manager_pb2 as pb


class ArenaError(Exception):
    """The object manager said no; the text is its reason."""


class ArenaFull(ArenaError):
    """The arena cannot hold the object; the text names the sizes."""


class ArenaRefused(ArenaError):
    """The request contradicts what the object manager knows."""


class ArenaEntered(ArenaError):
    """This thread is in the middle of reading from the object manager: waiting here, it would wait for itself."""


class ObjectNotFound(ArenaError):
    """No copy of the object here nor at the nodes that were asked, `lost_at`."""

    def __init__(self, message: str, lost_at: Sequence[bytes] = ()) -> None:
        super().__init__(message, tuple(lost_at))
        self.message = message
        self.lost_at = tuple(lost_at)

    def __str__(self) -> str:
        return self.message


class ArenaDisconnected(ConnectionError):
    """The object manager is gone or cannot be reached; what was mapped stays readable."""


class ArenaAway(ArenaDisconnected):
    """Nobody served the arena's socket for as long as one waits for it."""


class ArenaBusy(ArenaAway):
    """Another thread is connecting at this moment."""


class ArenaTimeout(TimeoutError):
    """The object was not here within the time given."""


def error_of(failure: pb.Failure) -> ArenaError:
    """What the object manager answered, as an error."""
    if failure.code == pb.Failure.LOST:
        return ObjectNotFound(failure.message, failure.lost_at)
    return ArenaFull(failure.message) if failure.code == pb.Failure.FULL else ArenaRefused(failure.message)
