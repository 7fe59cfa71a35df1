from manta_proto.common.v1 import common_pb2 as _common_pb2
from manta_proto.gcs.v1 import actor_pb2 as _actor_pb2
from manta_proto.gcs.v1 import task_pb2 as _task_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as _placement_group_pb2
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
    LEASES_WANTED: _ClassVar[Kind]
    LEASE_CANCELLED: _ClassVar[Kind]
    LEASE_RETURNED: _ClassVar[Kind]
    BLOCKED: _ClassVar[Kind]
    UNBLOCKED: _ClassVar[Kind]
    WATCH: _ClassVar[Kind]
    ENDPOINT_WANTED: _ClassVar[Kind]
    WORKER_READY: _ClassVar[Kind]
    ACTOR_STARTED: _ClassVar[Kind]
    EXITING: _ClassVar[Kind]
    ENDPOINT_OPENED: _ClassVar[Kind]
    LOGS_WANTED: _ClassVar[Kind]
    EXIT_DECLINED: _ClassVar[Kind]
    LOGS_FLUSH: _ClassVar[Kind]
    TASK_EVENTS: _ClassVar[Kind]
    REFERENCES_LISTED: _ClassVar[Kind]
    USER_METRICS: _ClassVar[Kind]
    LEASE_GRANTED: _ClassVar[Kind]
    LEASE_SPILLED: _ClassVar[Kind]
    LEASE_REFUSED: _ClassVar[Kind]
    LEASES_SHORT: _ClassVar[Kind]
    WORKERS_DIED: _ClassVar[Kind]
    NODES: _ClassVar[Kind]
    ENDPOINT: _ClassVar[Kind]
    LOG_LINES: _ClassVar[Kind]
    START_ACTOR: _ClassVar[Kind]
    EXIT: _ClassVar[Kind]
    OPEN_ENDPOINT: _ClassVar[Kind]
    LOGS_FLUSHED: _ClassVar[Kind]
    REFERENCES_WANTED: _ClassVar[Kind]
    TASK_EVENTS_LOST: _ClassVar[Kind]
NONE: Kind
WELCOME: Kind
REFUSED: Kind
HELLO: Kind
LEASES_WANTED: Kind
LEASE_CANCELLED: Kind
LEASE_RETURNED: Kind
BLOCKED: Kind
UNBLOCKED: Kind
WATCH: Kind
ENDPOINT_WANTED: Kind
WORKER_READY: Kind
ACTOR_STARTED: Kind
EXITING: Kind
ENDPOINT_OPENED: Kind
LOGS_WANTED: Kind
EXIT_DECLINED: Kind
LOGS_FLUSH: Kind
TASK_EVENTS: Kind
REFERENCES_LISTED: Kind
USER_METRICS: Kind
LEASE_GRANTED: Kind
LEASE_SPILLED: Kind
LEASE_REFUSED: Kind
LEASES_SHORT: Kind
WORKERS_DIED: Kind
NODES: Kind
ENDPOINT: Kind
LOG_LINES: Kind
START_ACTOR: Kind
EXIT: Kind
OPEN_ENDPOINT: Kind
LOGS_FLUSHED: Kind
REFERENCES_WANTED: Kind
TASK_EVENTS_LOST: Kind

class RayletWelcome(_message.Message):
    __slots__ = ("node_id", "object_manager_socket", "gcs_addresses", "node", "task_event_interval_ms", "max_lineage_bytes", "tuning", "metrics_interval_ms")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MANAGER_SOCKET_FIELD_NUMBER: _ClassVar[int]
    GCS_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TASK_EVENT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_LINEAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    METRICS_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    object_manager_socket: str
    gcs_addresses: str
    node: _common_pb2.NodeInfo
    task_event_interval_ms: int
    max_lineage_bytes: int
    tuning: Tuning
    metrics_interval_ms: int
    def __init__(self, node_id: _Optional[bytes] = ..., object_manager_socket: _Optional[str] = ..., gcs_addresses: _Optional[str] = ..., node: _Optional[_Union[_common_pb2.NodeInfo, _Mapping]] = ..., task_event_interval_ms: _Optional[int] = ..., max_lineage_bytes: _Optional[int] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ..., metrics_interval_ms: _Optional[int] = ...) -> None: ...

class Tuning(_message.Message):
    __slots__ = ("inline_bytes", "call_inline_bytes", "lease_idle_ms", "retry_delay_ms", "record_creation_sites")
    INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CALL_INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASE_IDLE_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    RECORD_CREATION_SITES_FIELD_NUMBER: _ClassVar[int]
    inline_bytes: int
    call_inline_bytes: int
    lease_idle_ms: int
    retry_delay_ms: int
    record_creation_sites: bool
    def __init__(self, inline_bytes: _Optional[int] = ..., call_inline_bytes: _Optional[int] = ..., lease_idle_ms: _Optional[int] = ..., retry_delay_ms: _Optional[int] = ..., record_creation_sites: bool = ...) -> None: ...

class LeasesWanted(_message.Message):
    __slots__ = ("request_id", "job_id", "resources", "strategy", "runtime_env", "backlog", "hops", "argument_bytes", "name", "arguments")
    class ArgumentBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ENV_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    job_id: bytes
    resources: _common_pb2.Resources
    strategy: _common_pb2.SchedulingStrategy
    runtime_env: str
    backlog: int
    hops: int
    argument_bytes: _containers.ScalarMap[str, int]
    name: str
    arguments: _containers.RepeatedCompositeFieldContainer[LeaseArgument]
    def __init__(self, request_id: _Optional[int] = ..., job_id: _Optional[bytes] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., strategy: _Optional[_Union[_common_pb2.SchedulingStrategy, _Mapping]] = ..., runtime_env: _Optional[str] = ..., backlog: _Optional[int] = ..., hops: _Optional[int] = ..., argument_bytes: _Optional[_Mapping[str, int]] = ..., name: _Optional[str] = ..., arguments: _Optional[_Iterable[_Union[LeaseArgument, _Mapping]]] = ...) -> None: ...

class LeaseArgument(_message.Message):
    __slots__ = ("object_id", "size", "node_ids", "owner")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    size: int
    node_ids: _containers.RepeatedScalarFieldContainer[bytes]
    owner: _common_pb2.WorkerAddress
    def __init__(self, object_id: _Optional[bytes] = ..., size: _Optional[int] = ..., node_ids: _Optional[_Iterable[bytes]] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ...) -> None: ...

class LeaseCancelled(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...

class LeaseReturned(_message.Message):
    __slots__ = ("lease_id", "retire_worker")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    RETIRE_WORKER_FIELD_NUMBER: _ClassVar[int]
    lease_id: bytes
    retire_worker: bool
    def __init__(self, lease_id: _Optional[bytes] = ..., retire_worker: bool = ...) -> None: ...

class LeaseGranted(_message.Message):
    __slots__ = ("request_id", "lease_id", "worker", "resources", "gpu_ids", "pid", "hops")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    GPU_IDS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    lease_id: bytes
    worker: _common_pb2.WorkerAddress
    resources: _common_pb2.Resources
    gpu_ids: _containers.RepeatedScalarFieldContainer[str]
    pid: int
    hops: int
    def __init__(self, request_id: _Optional[int] = ..., lease_id: _Optional[bytes] = ..., worker: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., gpu_ids: _Optional[_Iterable[str]] = ..., pid: _Optional[int] = ..., hops: _Optional[int] = ...) -> None: ...

class LeaseSpilled(_message.Message):
    __slots__ = ("request_id", "node_id", "raylet_address", "count", "hops")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    RAYLET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    node_id: bytes
    raylet_address: str
    count: int
    hops: int
    def __init__(self, request_id: _Optional[int] = ..., node_id: _Optional[bytes] = ..., raylet_address: _Optional[str] = ..., count: _Optional[int] = ..., hops: _Optional[int] = ...) -> None: ...

class LeaseRefused(_message.Message):
    __slots__ = ("request_id", "reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSCHEDULABLE: _ClassVar[LeaseRefused.Reason]
        PLACEMENT_GROUP_REMOVED: _ClassVar[LeaseRefused.Reason]
        RUNTIME_ENV_FAILED: _ClassVar[LeaseRefused.Reason]
        WORKER_START_FAILED: _ClassVar[LeaseRefused.Reason]
        DRAINING: _ClassVar[LeaseRefused.Reason]
    UNSCHEDULABLE: LeaseRefused.Reason
    PLACEMENT_GROUP_REMOVED: LeaseRefused.Reason
    RUNTIME_ENV_FAILED: LeaseRefused.Reason
    WORKER_START_FAILED: LeaseRefused.Reason
    DRAINING: LeaseRefused.Reason
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    reason: LeaseRefused.Reason
    message: str
    def __init__(self, request_id: _Optional[int] = ..., reason: _Optional[_Union[LeaseRefused.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class LeasesShort(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Blocked(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: bytes
    def __init__(self, lease_id: _Optional[bytes] = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("workers", "forget")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[_common_pb2.WorkerAddress]
    forget: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, workers: _Optional[_Iterable[_Union[_common_pb2.WorkerAddress, _Mapping]]] = ..., forget: _Optional[_Iterable[bytes]] = ...) -> None: ...

class WorkersDied(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    def __init__(self, workers: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ...) -> None: ...

class Nodes(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[_common_pb2.NodeInfo]
    def __init__(self, nodes: _Optional[_Iterable[_Union[_common_pb2.NodeInfo, _Mapping]]] = ...) -> None: ...

class EndpointWanted(_message.Message):
    __slots__ = ("request_id", "worker_id", "tcp")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    worker_id: bytes
    tcp: bool
    def __init__(self, request_id: _Optional[int] = ..., worker_id: _Optional[bytes] = ..., tcp: bool = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("request_id", "worker_id", "address")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    worker_id: bytes
    address: str
    def __init__(self, request_id: _Optional[int] = ..., worker_id: _Optional[bytes] = ..., address: _Optional[str] = ...) -> None: ...

class OpenEndpoint(_message.Message):
    __slots__ = ("host", "tcp")
    HOST_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    host: str
    tcp: bool
    def __init__(self, host: _Optional[str] = ..., tcp: bool = ...) -> None: ...

class EndpointOpened(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class WorkerReady(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartActor(_message.Message):
    __slots__ = ("spec", "incarnation", "gpu_ids")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    GPU_IDS_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    incarnation: int
    gpu_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., incarnation: _Optional[int] = ..., gpu_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ActorStarted(_message.Message):
    __slots__ = ("actor_id", "incarnation", "failure", "repr_name")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    REPR_NAME_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    incarnation: int
    failure: _common_pb2.DeathCause
    repr_name: str
    def __init__(self, actor_id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ..., repr_name: _Optional[str] = ...) -> None: ...

class Exiting(_message.Message):
    __slots__ = ("cause",)
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    cause: _common_pb2.DeathCause
    def __init__(self, cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ...) -> None: ...

class Exit(_message.Message):
    __slots__ = ("reason", "at_once")
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    at_once: bool
    def __init__(self, reason: _Optional[str] = ..., at_once: bool = ...) -> None: ...

class ExitDeclined(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogsWanted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogsFlush(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogsFlushed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogLines(_message.Message):
    __slots__ = ("job_id", "batches")
    class Batch(_message.Message):
        __slots__ = ("name", "pid", "node_ip", "is_error", "lines", "once")
        NAME_FIELD_NUMBER: _ClassVar[int]
        PID_FIELD_NUMBER: _ClassVar[int]
        NODE_IP_FIELD_NUMBER: _ClassVar[int]
        IS_ERROR_FIELD_NUMBER: _ClassVar[int]
        LINES_FIELD_NUMBER: _ClassVar[int]
        ONCE_FIELD_NUMBER: _ClassVar[int]
        name: str
        pid: int
        node_ip: str
        is_error: bool
        lines: _containers.RepeatedScalarFieldContainer[str]
        once: str
        def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., node_ip: _Optional[str] = ..., is_error: bool = ..., lines: _Optional[_Iterable[str]] = ..., once: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    batches: _containers.RepeatedCompositeFieldContainer[LogLines.Batch]
    def __init__(self, job_id: _Optional[bytes] = ..., batches: _Optional[_Iterable[_Union[LogLines.Batch, _Mapping]]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("node_id", "total", "available", "workers", "demands", "bundles")
    class Worker(_message.Message):
        __slots__ = ("worker_id", "pid", "job_id", "actor_id", "lease_id", "state", "launched_at", "started_at")
        WORKER_ID_FIELD_NUMBER: _ClassVar[int]
        PID_FIELD_NUMBER: _ClassVar[int]
        JOB_ID_FIELD_NUMBER: _ClassVar[int]
        ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
        LEASE_ID_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        LAUNCHED_AT_FIELD_NUMBER: _ClassVar[int]
        STARTED_AT_FIELD_NUMBER: _ClassVar[int]
        worker_id: bytes
        pid: int
        job_id: bytes
        actor_id: bytes
        lease_id: bytes
        state: str
        launched_at: float
        started_at: float
        def __init__(self, worker_id: _Optional[bytes] = ..., pid: _Optional[int] = ..., job_id: _Optional[bytes] = ..., actor_id: _Optional[bytes] = ..., lease_id: _Optional[bytes] = ..., state: _Optional[str] = ..., launched_at: _Optional[float] = ..., started_at: _Optional[float] = ...) -> None: ...
    class Demand(_message.Message):
        __slots__ = ("resources", "count", "reason")
        RESOURCES_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        resources: _common_pb2.Resources
        count: int
        reason: str
        def __init__(self, resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., count: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    DEMANDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    total: _common_pb2.Resources
    available: _common_pb2.Resources
    workers: _containers.RepeatedCompositeFieldContainer[DescribeReply.Worker]
    demands: _containers.RepeatedCompositeFieldContainer[DescribeReply.Demand]
    bundles: _containers.RepeatedCompositeFieldContainer[_placement_group_pb2.HeldBundle]
    def __init__(self, node_id: _Optional[bytes] = ..., total: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., workers: _Optional[_Iterable[_Union[DescribeReply.Worker, _Mapping]]] = ..., demands: _Optional[_Iterable[_Union[DescribeReply.Demand, _Mapping]]] = ..., bundles: _Optional[_Iterable[_Union[_placement_group_pb2.HeldBundle, _Mapping]]] = ...) -> None: ...

class ListReferencesRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListReferencesReply(_message.Message):
    __slots__ = ("processes", "silent")
    class Process(_message.Message):
        __slots__ = ("address", "pid", "is_driver", "references")
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        PID_FIELD_NUMBER: _ClassVar[int]
        IS_DRIVER_FIELD_NUMBER: _ClassVar[int]
        REFERENCES_FIELD_NUMBER: _ClassVar[int]
        address: _common_pb2.WorkerAddress
        pid: int
        is_driver: bool
        references: ReferenceList
        def __init__(self, address: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., pid: _Optional[int] = ..., is_driver: bool = ..., references: _Optional[_Union[ReferenceList, _Mapping]] = ...) -> None: ...
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[ListReferencesReply.Process]
    silent: int
    def __init__(self, processes: _Optional[_Iterable[_Union[ListReferencesReply.Process, _Mapping]]] = ..., silent: _Optional[int] = ...) -> None: ...

class TaskEventsLost(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReferencesWanted(_message.Message):
    __slots__ = ("request_id", "limit")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    limit: int
    def __init__(self, request_id: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ReferenceList(_message.Message):
    __slots__ = ("request_id", "items", "total")
    class Use(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_STATUS: _ClassVar[ReferenceList.Use]
        LOCAL_REFERENCE: _ClassVar[ReferenceList.Use]
        USED_BY_PENDING_TASK: _ClassVar[ReferenceList.Use]
        CAPTURED_IN_OBJECT: _ClassVar[ReferenceList.Use]
        ACTOR_HANDLE: _ClassVar[ReferenceList.Use]
        PINNED_IN_MEMORY: _ClassVar[ReferenceList.Use]
    UNKNOWN_STATUS: ReferenceList.Use
    LOCAL_REFERENCE: ReferenceList.Use
    USED_BY_PENDING_TASK: ReferenceList.Use
    CAPTURED_IN_OBJECT: ReferenceList.Use
    ACTOR_HANDLE: ReferenceList.Use
    PINNED_IN_MEMORY: ReferenceList.Use
    class Item(_message.Message):
        __slots__ = ("object_id", "size", "task_status", "attempt", "use")
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        TASK_STATUS_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        USE_FIELD_NUMBER: _ClassVar[int]
        object_id: bytes
        size: int
        task_status: _task_pb2.TaskStatus
        attempt: int
        use: ReferenceList.Use
        def __init__(self, object_id: _Optional[bytes] = ..., size: _Optional[int] = ..., task_status: _Optional[_Union[_task_pb2.TaskStatus, str]] = ..., attempt: _Optional[int] = ..., use: _Optional[_Union[ReferenceList.Use, str]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    items: _containers.RepeatedCompositeFieldContainer[ReferenceList.Item]
    total: int
    def __init__(self, request_id: _Optional[int] = ..., items: _Optional[_Iterable[_Union[ReferenceList.Item, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class UserMetrics(_message.Message):
    __slots__ = ("version", "families")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        COUNTER: _ClassVar[UserMetrics.Kind]
        GAUGE: _ClassVar[UserMetrics.Kind]
        HISTOGRAM: _ClassVar[UserMetrics.Kind]
    COUNTER: UserMetrics.Kind
    GAUGE: UserMetrics.Kind
    HISTOGRAM: UserMetrics.Kind
    class Series(_message.Message):
        __slots__ = ("tags", "value", "counts")
        TAGS_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        COUNTS_FIELD_NUMBER: _ClassVar[int]
        tags: _containers.RepeatedScalarFieldContainer[str]
        value: float
        counts: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, tags: _Optional[_Iterable[str]] = ..., value: _Optional[float] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...
    class Family(_message.Message):
        __slots__ = ("name", "kind", "description", "boundaries", "series")
        NAME_FIELD_NUMBER: _ClassVar[int]
        KIND_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
        BOUNDARIES_FIELD_NUMBER: _ClassVar[int]
        SERIES_FIELD_NUMBER: _ClassVar[int]
        name: str
        kind: UserMetrics.Kind
        description: str
        boundaries: _containers.RepeatedScalarFieldContainer[float]
        series: _containers.RepeatedCompositeFieldContainer[UserMetrics.Series]
        def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[UserMetrics.Kind, str]] = ..., description: _Optional[str] = ..., boundaries: _Optional[_Iterable[float]] = ..., series: _Optional[_Iterable[_Union[UserMetrics.Series, _Mapping]]] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    families: _containers.RepeatedCompositeFieldContainer[UserMetrics.Family]
    def __init__(self, version: _Optional[str] = ..., families: _Optional[_Iterable[_Union[UserMetrics.Family, _Mapping]]] = ...) -> None: ...
