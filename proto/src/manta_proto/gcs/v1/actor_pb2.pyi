from manta_proto.common.v1 import common_pb2 as _common_pb2
from manta_proto.worker.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActorState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPENDENCIES_UNREADY: _ClassVar[ActorState]
    PENDING_CREATION: _ClassVar[ActorState]
    ALIVE: _ClassVar[ActorState]
    RESTARTING: _ClassVar[ActorState]
    DEAD: _ClassVar[ActorState]
DEPENDENCIES_UNREADY: ActorState
PENDING_CREATION: ActorState
ALIVE: ActorState
RESTARTING: ActorState
DEAD: ActorState

class ConcurrencyGroup(_message.Message):
    __slots__ = ("name", "max_concurrency")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    name: str
    max_concurrency: int
    def __init__(self, name: _Optional[str] = ..., max_concurrency: _Optional[int] = ...) -> None: ...

class ActorSpec(_message.Message):
    __slots__ = ("actor_id", "job_id", "owner", "class_name", "definition", "args", "arguments", "lifetime_resources", "placement_resources", "strategy", "runtime_env", "max_restarts", "max_task_retries", "max_concurrency", "concurrency_groups", "is_async", "name", "ray_namespace", "detached", "allow_out_of_order", "max_pending_calls", "handle_id", "handle_state", "labels", "call_site", "restarts")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ENV_FIELD_NUMBER: _ClassVar[int]
    MAX_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TASK_RETRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_GROUPS_FIELD_NUMBER: _ClassVar[int]
    IS_ASYNC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OUT_OF_ORDER_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_CALLS_FIELD_NUMBER: _ClassVar[int]
    HANDLE_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLE_STATE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CALL_SITE_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    job_id: bytes
    owner: _common_pb2.WorkerAddress
    class_name: str
    definition: _worker_pb2.Definition
    args: _common_pb2.Value
    arguments: _containers.RepeatedCompositeFieldContainer[_worker_pb2.Argument]
    lifetime_resources: _common_pb2.Resources
    placement_resources: _common_pb2.Resources
    strategy: _common_pb2.SchedulingStrategy
    runtime_env: str
    max_restarts: int
    max_task_retries: int
    max_concurrency: int
    concurrency_groups: _containers.RepeatedCompositeFieldContainer[ConcurrencyGroup]
    is_async: bool
    name: str
    ray_namespace: str
    detached: bool
    allow_out_of_order: bool
    max_pending_calls: int
    handle_id: bytes
    handle_state: bytes
    labels: _containers.ScalarMap[str, str]
    call_site: str
    restarts: int
    def __init__(self, actor_id: _Optional[bytes] = ..., job_id: _Optional[bytes] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., class_name: _Optional[str] = ..., definition: _Optional[_Union[_worker_pb2.Definition, _Mapping]] = ..., args: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., arguments: _Optional[_Iterable[_Union[_worker_pb2.Argument, _Mapping]]] = ..., lifetime_resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., placement_resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., strategy: _Optional[_Union[_common_pb2.SchedulingStrategy, _Mapping]] = ..., runtime_env: _Optional[str] = ..., max_restarts: _Optional[int] = ..., max_task_retries: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., concurrency_groups: _Optional[_Iterable[_Union[ConcurrencyGroup, _Mapping]]] = ..., is_async: bool = ..., name: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., detached: bool = ..., allow_out_of_order: bool = ..., max_pending_calls: _Optional[int] = ..., handle_id: _Optional[bytes] = ..., handle_state: _Optional[bytes] = ..., labels: _Optional[_Mapping[str, str]] = ..., call_site: _Optional[str] = ..., restarts: _Optional[int] = ...) -> None: ...

class ActorStatus(_message.Message):
    __slots__ = ("actor_id", "state", "address", "incarnation", "restarts", "pid", "death_cause", "started_at", "ended_at", "repr_name", "pending_reason")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    DEATH_CAUSE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    REPR_NAME_FIELD_NUMBER: _ClassVar[int]
    PENDING_REASON_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    state: ActorState
    address: _common_pb2.WorkerAddress
    incarnation: int
    restarts: int
    pid: int
    death_cause: _common_pb2.DeathCause
    started_at: float
    ended_at: float
    repr_name: str
    pending_reason: str
    def __init__(self, actor_id: _Optional[bytes] = ..., state: _Optional[_Union[ActorState, str]] = ..., address: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., incarnation: _Optional[int] = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., death_cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., repr_name: _Optional[str] = ..., pending_reason: _Optional[str] = ...) -> None: ...
