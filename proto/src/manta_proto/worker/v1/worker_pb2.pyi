from manta_proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[Kind]
    WELCOME: _ClassVar[Kind]
    REFUSED: _ClassVar[Kind]
    HELLO: _ClassVar[Kind]
    RESUMED: _ClassVar[Kind]
    ACKNOWLEDGED: _ClassVar[Kind]
    ACKNOWLEDGEMENT_WANTED: _ClassVar[Kind]
    TASKS: _ClassVar[Kind]
    REPLIES: _ClassVar[Kind]
    HANDED_BACK: _ClassVar[Kind]
    CANCEL: _ClassVar[Kind]
    DEFINITION_WANTED: _ClassVar[Kind]
    DEFINITION: _ClassVar[Kind]
    REPLY_DEFERRED: _ClassVar[Kind]
    FRAME_RETURNED: _ClassVar[Kind]
    OBJECTS_WANTED: _ClassVar[Kind]
    OBJECTS: _ClassVar[Kind]
    HOLDS: _ClassVar[Kind]
    HOLDS_ACKNOWLEDGED: _ClassVar[Kind]
    HOLD_QUESTIONED: _ClassVar[Kind]
    KILL_ACTOR: _ClassVar[Kind]
    GENERATOR_ITEMS: _ClassVar[Kind]
    GENERATOR_PROGRESS: _ClassVar[Kind]
    GENERATOR_DROPPED: _ClassVar[Kind]
NONE: Kind
WELCOME: Kind
REFUSED: Kind
HELLO: Kind
RESUMED: Kind
ACKNOWLEDGED: Kind
ACKNOWLEDGEMENT_WANTED: Kind
TASKS: Kind
REPLIES: Kind
HANDED_BACK: Kind
CANCEL: Kind
DEFINITION_WANTED: Kind
DEFINITION: Kind
REPLY_DEFERRED: Kind
FRAME_RETURNED: Kind
OBJECTS_WANTED: Kind
OBJECTS: Kind
HOLDS: Kind
HOLDS_ACKNOWLEDGED: Kind
HOLD_QUESTIONED: Kind
KILL_ACTOR: Kind
GENERATOR_ITEMS: Kind
GENERATOR_PROGRESS: Kind
GENERATOR_DROPPED: Kind

class Definition(_message.Message):
    __slots__ = ("digest", "pickled", "job_id")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PICKLED_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    pickled: bytes
    job_id: bytes
    def __init__(self, digest: _Optional[bytes] = ..., pickled: _Optional[bytes] = ..., job_id: _Optional[bytes] = ...) -> None: ...

class Argument(_message.Message):
    __slots__ = ("value", "stored", "ref")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    value: _common_pb2.Value
    stored: StoredObject
    ref: _common_pb2.ObjectReference
    def __init__(self, value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., stored: _Optional[_Union[StoredObject, _Mapping]] = ..., ref: _Optional[_Union[_common_pb2.ObjectReference, _Mapping]] = ...) -> None: ...

class StoredObject(_message.Message):
    __slots__ = ("size", "node_ids", "generation")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    size: int
    node_ids: _containers.RepeatedScalarFieldContainer[bytes]
    generation: int
    def __init__(self, size: _Optional[int] = ..., node_ids: _Optional[_Iterable[bytes]] = ..., generation: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("task_id", "definition", "args", "arguments", "num_returns", "name", "attempt", "actor_id", "incarnation", "method", "sequence", "concurrency_group", "retry_exceptions", "placement_group_id", "capture_child_tasks", "parent_task_id", "backpressure", "last_attempt", "max_calls", "items_arrived")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_RETURNS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_GROUP_FIELD_NUMBER: _ClassVar[int]
    RETRY_EXCEPTIONS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_CHILD_TASKS_FIELD_NUMBER: _ClassVar[int]
    PARENT_TASK_ID_FIELD_NUMBER: _ClassVar[int]
    BACKPRESSURE_FIELD_NUMBER: _ClassVar[int]
    LAST_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_ARRIVED_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    definition: bytes
    args: _common_pb2.Value
    arguments: _containers.RepeatedCompositeFieldContainer[Argument]
    num_returns: int
    name: str
    attempt: int
    actor_id: bytes
    incarnation: int
    method: str
    sequence: int
    concurrency_group: str
    retry_exceptions: bool
    placement_group_id: bytes
    capture_child_tasks: bool
    parent_task_id: bytes
    backpressure: int
    last_attempt: bool
    max_calls: int
    items_arrived: int
    def __init__(self, task_id: _Optional[bytes] = ..., definition: _Optional[bytes] = ..., args: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., arguments: _Optional[_Iterable[_Union[Argument, _Mapping]]] = ..., num_returns: _Optional[int] = ..., name: _Optional[str] = ..., attempt: _Optional[int] = ..., actor_id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., method: _Optional[str] = ..., sequence: _Optional[int] = ..., concurrency_group: _Optional[str] = ..., retry_exceptions: bool = ..., placement_group_id: _Optional[bytes] = ..., capture_child_tasks: bool = ..., parent_task_id: _Optional[bytes] = ..., backpressure: _Optional[int] = ..., last_attempt: bool = ..., max_calls: _Optional[int] = ..., items_arrived: _Optional[int] = ...) -> None: ...

class Tasks(_message.Message):
    __slots__ = ("lease_id", "caller", "job_id", "definitions", "tasks", "resources", "gpu_ids", "placement_group_id", "capture_child_tasks")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    GPU_IDS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_CHILD_TASKS_FIELD_NUMBER: _ClassVar[int]
    lease_id: bytes
    caller: _common_pb2.WorkerAddress
    job_id: bytes
    definitions: _containers.RepeatedCompositeFieldContainer[Definition]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    resources: _common_pb2.Resources
    gpu_ids: _containers.RepeatedScalarFieldContainer[str]
    placement_group_id: bytes
    capture_child_tasks: bool
    def __init__(self, lease_id: _Optional[bytes] = ..., caller: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., job_id: _Optional[bytes] = ..., definitions: _Optional[_Iterable[_Union[Definition, _Mapping]]] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., gpu_ids: _Optional[_Iterable[str]] = ..., placement_group_id: _Optional[bytes] = ..., capture_child_tasks: bool = ...) -> None: ...

class KeptRef(_message.Message):
    __slots__ = ("object_id", "number")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    number: int
    def __init__(self, object_id: _Optional[bytes] = ..., number: _Optional[int] = ...) -> None: ...

class Return(_message.Message):
    __slots__ = ("object_id", "value", "stored", "contained")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    CONTAINED_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    value: _common_pb2.Value
    stored: StoredObject
    contained: _containers.RepeatedCompositeFieldContainer[_common_pb2.ObjectReference]
    def __init__(self, object_id: _Optional[bytes] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., stored: _Optional[_Union[StoredObject, _Mapping]] = ..., contained: _Optional[_Iterable[_Union[_common_pb2.ObjectReference, _Mapping]]] = ...) -> None: ...

class TaskReply(_message.Message):
    __slots__ = ("task_id", "outcome", "returns", "kept", "execution_us", "message", "attempt", "lost_object", "lost_at", "lost_generation", "items_made")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DONE: _ClassVar[TaskReply.Outcome]
        RAISED: _ClassVar[TaskReply.Outcome]
        CANCELLED: _ClassVar[TaskReply.Outcome]
        REFUSED: _ClassVar[TaskReply.Outcome]
        ARGUMENT_LOST: _ClassVar[TaskReply.Outcome]
        EXITING: _ClassVar[TaskReply.Outcome]
        ACTOR_LEFT: _ClassVar[TaskReply.Outcome]
    DONE: TaskReply.Outcome
    RAISED: TaskReply.Outcome
    CANCELLED: TaskReply.Outcome
    REFUSED: TaskReply.Outcome
    ARGUMENT_LOST: TaskReply.Outcome
    EXITING: TaskReply.Outcome
    ACTOR_LEFT: TaskReply.Outcome
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_US_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LOST_OBJECT_FIELD_NUMBER: _ClassVar[int]
    LOST_AT_FIELD_NUMBER: _ClassVar[int]
    LOST_GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_MADE_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    outcome: TaskReply.Outcome
    returns: _containers.RepeatedCompositeFieldContainer[Return]
    kept: _containers.RepeatedCompositeFieldContainer[KeptRef]
    execution_us: int
    message: str
    attempt: int
    lost_object: bytes
    lost_at: _containers.RepeatedScalarFieldContainer[bytes]
    lost_generation: int
    items_made: int
    def __init__(self, task_id: _Optional[bytes] = ..., outcome: _Optional[_Union[TaskReply.Outcome, str]] = ..., returns: _Optional[_Iterable[_Union[Return, _Mapping]]] = ..., kept: _Optional[_Iterable[_Union[KeptRef, _Mapping]]] = ..., execution_us: _Optional[int] = ..., message: _Optional[str] = ..., attempt: _Optional[int] = ..., lost_object: _Optional[bytes] = ..., lost_at: _Optional[_Iterable[bytes]] = ..., lost_generation: _Optional[int] = ..., items_made: _Optional[int] = ...) -> None: ...

class Replies(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[TaskReply]
    def __init__(self, replies: _Optional[_Iterable[_Union[TaskReply, _Mapping]]] = ...) -> None: ...

class HandedBack(_message.Message):
    __slots__ = ("task_ids", "attempts")
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    task_ids: _containers.RepeatedScalarFieldContainer[bytes]
    attempts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, task_ids: _Optional[_Iterable[bytes]] = ..., attempts: _Optional[_Iterable[int]] = ...) -> None: ...

class ReplyDeferred(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    def __init__(self, task_id: _Optional[bytes] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("task_id", "force", "recursive", "as_owner")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    AS_OWNER_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    force: bool
    recursive: bool
    as_owner: bool
    def __init__(self, task_id: _Optional[bytes] = ..., force: bool = ..., recursive: bool = ..., as_owner: bool = ...) -> None: ...

class DefinitionWanted(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class ObjectsWanted(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("request_id", "object_id", "lost_at", "generation")
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        LOST_AT_FIELD_NUMBER: _ClassVar[int]
        GENERATION_FIELD_NUMBER: _ClassVar[int]
        request_id: int
        object_id: bytes
        lost_at: _containers.RepeatedScalarFieldContainer[bytes]
        generation: int
        def __init__(self, request_id: _Optional[int] = ..., object_id: _Optional[bytes] = ..., lost_at: _Optional[_Iterable[bytes]] = ..., generation: _Optional[int] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ObjectsWanted.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[ObjectsWanted.Item, _Mapping]]] = ...) -> None: ...

class Objects(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("request_id", "object_id", "value", "stored", "unknown")
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        STORED_FIELD_NUMBER: _ClassVar[int]
        UNKNOWN_FIELD_NUMBER: _ClassVar[int]
        request_id: int
        object_id: bytes
        value: _common_pb2.Value
        stored: StoredObject
        unknown: str
        def __init__(self, request_id: _Optional[int] = ..., object_id: _Optional[bytes] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., stored: _Optional[_Union[StoredObject, _Mapping]] = ..., unknown: _Optional[str] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Objects.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Objects.Item, _Mapping]]] = ...) -> None: ...

class Holds(_message.Message):
    __slots__ = ("items", "full_set", "full_set_number")
    class Item(_message.Message):
        __slots__ = ("action", "object_id", "holder", "tag", "number", "request_id")
        class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            ADD: _ClassVar[Holds.Item.Action]
            DROP: _ClassVar[Holds.Item.Action]
        ADD: Holds.Item.Action
        DROP: Holds.Item.Action
        ACTION_FIELD_NUMBER: _ClassVar[int]
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        HOLDER_FIELD_NUMBER: _ClassVar[int]
        TAG_FIELD_NUMBER: _ClassVar[int]
        NUMBER_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        action: Holds.Item.Action
        object_id: bytes
        holder: bytes
        tag: bytes
        number: int
        request_id: int
        def __init__(self, action: _Optional[_Union[Holds.Item.Action, str]] = ..., object_id: _Optional[bytes] = ..., holder: _Optional[bytes] = ..., tag: _Optional[bytes] = ..., number: _Optional[int] = ..., request_id: _Optional[int] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FULL_SET_FIELD_NUMBER: _ClassVar[int]
    FULL_SET_NUMBER_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Holds.Item]
    full_set: bool
    full_set_number: int
    def __init__(self, items: _Optional[_Iterable[_Union[Holds.Item, _Mapping]]] = ..., full_set: bool = ..., full_set_number: _Optional[int] = ...) -> None: ...

class HoldQuestioned(_message.Message):
    __slots__ = ("object_id", "tag", "adder")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    ADDER_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    tag: bytes
    adder: bytes
    def __init__(self, object_id: _Optional[bytes] = ..., tag: _Optional[bytes] = ..., adder: _Optional[bytes] = ...) -> None: ...

class HoldsAcknowledged(_message.Message):
    __slots__ = ("items", "collect_garbage")
    class Item(_message.Message):
        __slots__ = ("request_id", "gone")
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        GONE_FIELD_NUMBER: _ClassVar[int]
        request_id: int
        gone: bool
        def __init__(self, request_id: _Optional[int] = ..., gone: bool = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    COLLECT_GARBAGE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[HoldsAcknowledged.Item]
    collect_garbage: bool
    def __init__(self, items: _Optional[_Iterable[_Union[HoldsAcknowledged.Item, _Mapping]]] = ..., collect_garbage: bool = ...) -> None: ...

class Resumed(_message.Message):
    __slots__ = ("next",)
    NEXT_FIELD_NUMBER: _ClassVar[int]
    next: int
    def __init__(self, next: _Optional[int] = ...) -> None: ...

class Acknowledged(_message.Message):
    __slots__ = ("received",)
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    received: int
    def __init__(self, received: _Optional[int] = ...) -> None: ...

class FrameReturned(_message.Message):
    __slots__ = ("kind", "payload", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: int
    payload: bytes
    reason: str
    def __init__(self, kind: _Optional[int] = ..., payload: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class KillActor(_message.Message):
    __slots__ = ("actor_id", "no_restart")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    NO_RESTART_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    no_restart: bool
    def __init__(self, actor_id: _Optional[bytes] = ..., no_restart: bool = ...) -> None: ...

class GeneratorItems(_message.Message):
    __slots__ = ("task_id", "attempt", "first", "items")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    attempt: int
    first: int
    items: _containers.RepeatedCompositeFieldContainer[Return]
    def __init__(self, task_id: _Optional[bytes] = ..., attempt: _Optional[int] = ..., first: _Optional[int] = ..., items: _Optional[_Iterable[_Union[Return, _Mapping]]] = ...) -> None: ...

class GeneratorProgress(_message.Message):
    __slots__ = ("task_id", "arrived", "read")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    arrived: int
    read: int
    def __init__(self, task_id: _Optional[bytes] = ..., arrived: _Optional[int] = ..., read: _Optional[int] = ...) -> None: ...

class GeneratorDropped(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    def __init__(self, task_id: _Optional[bytes] = ...) -> None: ...
