from manta_proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NIL: _ClassVar[TaskStatus]
    PENDING_ARGS_AVAIL: _ClassVar[TaskStatus]
    PENDING_NODE_ASSIGNMENT: _ClassVar[TaskStatus]
    PENDING_OBJ_STORE_MEM_AVAIL: _ClassVar[TaskStatus]
    PENDING_ARGS_FETCH: _ClassVar[TaskStatus]
    SUBMITTED_TO_WORKER: _ClassVar[TaskStatus]
    PENDING_ACTOR_TASK_ARGS_FETCH: _ClassVar[TaskStatus]
    PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY: _ClassVar[TaskStatus]
    RUNNING: _ClassVar[TaskStatus]
    RUNNING_IN_RAY_GET: _ClassVar[TaskStatus]
    RUNNING_IN_RAY_WAIT: _ClassVar[TaskStatus]
    FINISHED: _ClassVar[TaskStatus]
    FAILED: _ClassVar[TaskStatus]

class TaskType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMAL_TASK: _ClassVar[TaskType]
    ACTOR_CREATION_TASK: _ClassVar[TaskType]
    ACTOR_TASK: _ClassVar[TaskType]
NIL: TaskStatus
PENDING_ARGS_AVAIL: TaskStatus
PENDING_NODE_ASSIGNMENT: TaskStatus
PENDING_OBJ_STORE_MEM_AVAIL: TaskStatus
PENDING_ARGS_FETCH: TaskStatus
SUBMITTED_TO_WORKER: TaskStatus
PENDING_ACTOR_TASK_ARGS_FETCH: TaskStatus
PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY: TaskStatus
RUNNING: TaskStatus
RUNNING_IN_RAY_GET: TaskStatus
RUNNING_IN_RAY_WAIT: TaskStatus
FINISHED: TaskStatus
FAILED: TaskStatus
NORMAL_TASK: TaskType
ACTOR_CREATION_TASK: TaskType
ACTOR_TASK: TaskType

class TaskKind(_message.Message):
    __slots__ = ("name", "function", "type", "job_id", "actor_id", "resources", "runtime_env", "placement_group_id", "bundle_index", "call_site")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ENV_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_INDEX_FIELD_NUMBER: _ClassVar[int]
    CALL_SITE_FIELD_NUMBER: _ClassVar[int]
    name: str
    function: str
    type: TaskType
    job_id: bytes
    actor_id: bytes
    resources: _common_pb2.Resources
    runtime_env: str
    placement_group_id: bytes
    bundle_index: int
    call_site: str
    def __init__(self, name: _Optional[str] = ..., function: _Optional[str] = ..., type: _Optional[_Union[TaskType, str]] = ..., job_id: _Optional[bytes] = ..., actor_id: _Optional[bytes] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., runtime_env: _Optional[str] = ..., placement_group_id: _Optional[bytes] = ..., bundle_index: _Optional[int] = ..., call_site: _Optional[str] = ...) -> None: ...

class FinishedTasks(_message.Message):
    __slots__ = ("kind", "worker", "worker_pid", "status", "error_type", "error_message", "told", "task_ids", "parent_ids", "attempts", "created_at", "queued_at", "sent_at", "ended_at", "execution_us")
    KIND_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    WORKER_PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    PARENT_IDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_AT_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_US_FIELD_NUMBER: _ClassVar[int]
    kind: int
    worker: _common_pb2.WorkerAddress
    worker_pid: int
    status: TaskStatus
    error_type: str
    error_message: str
    told: bool
    task_ids: bytes
    parent_ids: bytes
    attempts: _containers.RepeatedScalarFieldContainer[int]
    created_at: _containers.RepeatedScalarFieldContainer[float]
    queued_at: _containers.RepeatedScalarFieldContainer[float]
    sent_at: _containers.RepeatedScalarFieldContainer[float]
    ended_at: _containers.RepeatedScalarFieldContainer[float]
    execution_us: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, kind: _Optional[int] = ..., worker: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., worker_pid: _Optional[int] = ..., status: _Optional[_Union[TaskStatus, str]] = ..., error_type: _Optional[str] = ..., error_message: _Optional[str] = ..., told: bool = ..., task_ids: _Optional[bytes] = ..., parent_ids: _Optional[bytes] = ..., attempts: _Optional[_Iterable[int]] = ..., created_at: _Optional[_Iterable[float]] = ..., queued_at: _Optional[_Iterable[float]] = ..., sent_at: _Optional[_Iterable[float]] = ..., ended_at: _Optional[_Iterable[float]] = ..., execution_us: _Optional[_Iterable[int]] = ...) -> None: ...

class LiveTask(_message.Message):
    __slots__ = ("kind", "task_id", "attempt", "status", "parent_id", "created_at", "queued_at", "sent_at", "worker", "worker_pid", "owner", "running", "started_at", "pending_reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_AT_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    WORKER_PID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    PENDING_REASON_FIELD_NUMBER: _ClassVar[int]
    kind: int
    task_id: bytes
    attempt: int
    status: TaskStatus
    parent_id: bytes
    created_at: float
    queued_at: float
    sent_at: float
    worker: _common_pb2.WorkerAddress
    worker_pid: int
    owner: bytes
    running: TaskStatus
    started_at: float
    pending_reason: str
    def __init__(self, kind: _Optional[int] = ..., task_id: _Optional[bytes] = ..., attempt: _Optional[int] = ..., status: _Optional[_Union[TaskStatus, str]] = ..., parent_id: _Optional[bytes] = ..., created_at: _Optional[float] = ..., queued_at: _Optional[float] = ..., sent_at: _Optional[float] = ..., worker: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., worker_pid: _Optional[int] = ..., owner: _Optional[bytes] = ..., running: _Optional[_Union[TaskStatus, str]] = ..., started_at: _Optional[float] = ..., pending_reason: _Optional[str] = ...) -> None: ...

class RunningTask(_message.Message):
    __slots__ = ("task_id", "attempt", "status", "started_at")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    task_id: bytes
    attempt: int
    status: TaskStatus
    started_at: float
    def __init__(self, task_id: _Optional[bytes] = ..., attempt: _Optional[int] = ..., status: _Optional[_Union[TaskStatus, str]] = ..., started_at: _Optional[float] = ...) -> None: ...

class TaskEvents(_message.Message):
    __slots__ = ("teller", "pid", "kinds", "finished", "live", "running", "dropped", "reconstructed", "unrecovered")
    TELLER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTED_FIELD_NUMBER: _ClassVar[int]
    UNRECOVERED_FIELD_NUMBER: _ClassVar[int]
    teller: _common_pb2.WorkerAddress
    pid: int
    kinds: _containers.RepeatedCompositeFieldContainer[TaskKind]
    finished: _containers.RepeatedCompositeFieldContainer[FinishedTasks]
    live: _containers.RepeatedCompositeFieldContainer[LiveTask]
    running: _containers.RepeatedCompositeFieldContainer[RunningTask]
    dropped: int
    reconstructed: int
    unrecovered: int
    def __init__(self, teller: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., pid: _Optional[int] = ..., kinds: _Optional[_Iterable[_Union[TaskKind, _Mapping]]] = ..., finished: _Optional[_Iterable[_Union[FinishedTasks, _Mapping]]] = ..., live: _Optional[_Iterable[_Union[LiveTask, _Mapping]]] = ..., running: _Optional[_Iterable[_Union[RunningTask, _Mapping]]] = ..., dropped: _Optional[int] = ..., reconstructed: _Optional[int] = ..., unrecovered: _Optional[int] = ...) -> None: ...

class StateFilter(_message.Message):
    __slots__ = ("column", "unequal", "value")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    UNEQUAL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    column: str
    unequal: bool
    value: str
    def __init__(self, column: _Optional[str] = ..., unequal: bool = ..., value: _Optional[str] = ...) -> None: ...

class ListTasks(_message.Message):
    __slots__ = ("filters", "limit")
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[StateFilter]
    limit: int
    def __init__(self, filters: _Optional[_Iterable[_Union[StateFilter, _Mapping]]] = ..., limit: _Optional[int] = ...) -> None: ...

class TaskList(_message.Message):
    __slots__ = ("kinds", "finished", "live", "total", "matched", "dropped")
    KINDS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedCompositeFieldContainer[TaskKind]
    finished: _containers.RepeatedCompositeFieldContainer[FinishedTasks]
    live: _containers.RepeatedCompositeFieldContainer[LiveTask]
    total: int
    matched: int
    dropped: int
    def __init__(self, kinds: _Optional[_Iterable[_Union[TaskKind, _Mapping]]] = ..., finished: _Optional[_Iterable[_Union[FinishedTasks, _Mapping]]] = ..., live: _Optional[_Iterable[_Union[LiveTask, _Mapping]]] = ..., total: _Optional[int] = ..., matched: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class SummarizeTasks(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TaskSummary(_message.Message):
    __slots__ = ("items", "dropped")
    class Item(_message.Message):
        __slots__ = ("function", "type", "status", "count")
        FUNCTION_FIELD_NUMBER: _ClassVar[int]
        TYPE_FIELD_NUMBER: _ClassVar[int]
        STATUS_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        function: str
        type: TaskType
        status: TaskStatus
        count: int
        def __init__(self, function: _Optional[str] = ..., type: _Optional[_Union[TaskType, str]] = ..., status: _Optional[_Union[TaskStatus, str]] = ..., count: _Optional[int] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[TaskSummary.Item]
    dropped: int
    def __init__(self, items: _Optional[_Iterable[_Union[TaskSummary.Item, _Mapping]]] = ..., dropped: _Optional[int] = ...) -> None: ...
