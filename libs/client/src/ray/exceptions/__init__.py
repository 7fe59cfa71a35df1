"""Every error that the public API raises, as one tree; each says what happened and what to do next.

RayError
|- RayTaskError                      the user's code raised; also an instance of what it raised
|- TaskCancelledError                ray.cancel reached the task
|- TaskUnschedulableError            no node may run the task, and waiting cannot help
|- TaskPlacementGroupRemoved         the task's placement group is gone
|- WorkerCrashedError                the process that ran the task died
|- OutOfMemoryError                  the node was short of memory and its raylet ended the process
|- NodeDiedError, LocalRayletDiedError
|- ObjectManagerUnavailableError      this node's object manager stays away; its supervisor may bring it back
|- RayActorError                     a call did not reach, or not come back from, an actor
|  |- ActorDiedError                 the actor is gone for good
|  |  `- ActorPlacementGroupRemoved  with its placement group
|  `- ActorUnavailableError          the actor may come back: it restarts, or the network is down
|- ActorUnschedulableError           no node may hold the actor, and waiting cannot help
|- ActorAlreadyExistsError           (a ValueError) the name is taken
|- ActorHandleNotFoundError          (a ValueError) the handle belongs to another cluster
|- PendingCallsLimitExceeded         max_pending_calls was reached
|- AsyncioActorExit                  internal: an async actor ends itself
|- GetTimeoutError                   (a TimeoutError) ray.get waited for `timeout`
|- ObjectStoreFullError, OutOfDiskError, PlasmaObjectNotAvailable
|- ObjectLostError                   no copy of the object is left
|  |- ObjectFetchTimedOutError, ObjectFreedError, OwnerDiedError
|  |- ReferenceCountingAssertionError
|  `- ObjectReconstructionFailedError
|- ObjectRefStreamEndOfStreamError   a streaming generator has no further object
|- RuntimeEnvSetupError              the runtime environment could not be made
|- UnserializableException           an error came whose pickled form cannot be read here
|- CrossLanguageError                a worker of another language failed
|- AuthenticationError               the cluster refused the token
|- RpcError                          a service did not answer as it should
`- RaySystemError                    the runtime itself failed, or has not what was asked for
   |- StreamingGeneratorReplayInconsistentError
   |- RayChannelError                a compiled graph's channel failed
   |  `- RayChannelTimeoutError      (a TimeoutError)
   `- RayCgraphCapacityExceeded
"""

from ray.exceptions.actor import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorHandleNotFoundError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    AsyncioActorExit,
    PendingCallsLimitExceeded,
    RayActorError,
)
from ray.exceptions.base import RayError
from ray.exceptions.base import _restore as _restore  # stored pickles name it here
from ray.exceptions.object import (
    GetTimeoutError,
    ObjectFetchTimedOutError,
    ObjectFreedError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectRefStreamEndOfStreamError,
    ObjectStoreFullError,
    OutOfDiskError,
    OwnerDiedError,
    PlasmaObjectNotAvailable,
    ReferenceCountingAssertionError,
)
from ray.exceptions.system import (
    AuthenticationError,
    CrossLanguageError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectManagerUnavailableError,
    RayCgraphCapacityExceeded,
    RayChannelError,
    RayChannelTimeoutError,
    RaySystemError,
    RpcError,
    RuntimeEnvSetupError,
    StreamingGeneratorReplayInconsistentError,
    UnserializableException,
)
from ray.exceptions.task import (
    OutOfMemoryError,
    RayTaskError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    WorkerCrashedError,
)

# Upstream keeps the list of what ray.get may raise under this name.
RAY_EXCEPTION_TYPES = tuple(
    kind for kind in list(globals().values()) if isinstance(kind, type) and issubclass(kind, RayError)
)
for _kind in RAY_EXCEPTION_TYPES:
    # Pickles and tracebacks name the public module, whichever family's file the class is in.
    _kind.__module__ = __name__

__all__ = [
    "RAY_EXCEPTION_TYPES",
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectManagerUnavailableError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "WorkerCrashedError",
]
