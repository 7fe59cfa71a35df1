from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    DRIVER: _ClassVar[Role]
    WORKER: _ClassVar[Role]
    RAYLET: _ClassVar[Role]
    OBJECT_MANAGER: _ClassVar[Role]
    GCS: _ClassVar[Role]
    TOOL: _ClassVar[Role]
ROLE_UNSPECIFIED: Role
DRIVER: Role
WORKER: Role
RAYLET: Role
OBJECT_MANAGER: Role
GCS: Role
TOOL: Role

class WorkerAddress(_message.Message):
    __slots__ = ("node_id", "worker_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    worker_id: bytes
    def __init__(self, node_id: _Optional[bytes] = ..., worker_id: _Optional[bytes] = ...) -> None: ...

class ObjectReference(_message.Message):
    __slots__ = ("object_id", "owner")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    owner: WorkerAddress
    def __init__(self, object_id: _Optional[bytes] = ..., owner: _Optional[_Union[WorkerAddress, _Mapping]] = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("amounts",)
    class AmountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    AMOUNTS_FIELD_NUMBER: _ClassVar[int]
    amounts: _containers.ScalarMap[str, int]
    def __init__(self, amounts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class LabelConstraint(_message.Message):
    __slots__ = ("key", "operator", "values")
    class Operator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        IN: _ClassVar[LabelConstraint.Operator]
        NOT_IN: _ClassVar[LabelConstraint.Operator]
        EXISTS: _ClassVar[LabelConstraint.Operator]
        DOES_NOT_EXIST: _ClassVar[LabelConstraint.Operator]
    IN: LabelConstraint.Operator
    NOT_IN: LabelConstraint.Operator
    EXISTS: LabelConstraint.Operator
    DOES_NOT_EXIST: LabelConstraint.Operator
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key: str
    operator: LabelConstraint.Operator
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key: _Optional[str] = ..., operator: _Optional[_Union[LabelConstraint.Operator, str]] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeAffinity(_message.Message):
    __slots__ = ("node_id", "soft", "spill_on_unavailable", "fail_on_unavailable")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    SPILL_ON_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    FAIL_ON_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    soft: bool
    spill_on_unavailable: bool
    fail_on_unavailable: bool
    def __init__(self, node_id: _Optional[bytes] = ..., soft: bool = ..., spill_on_unavailable: bool = ..., fail_on_unavailable: bool = ...) -> None: ...

class NodeLabels(_message.Message):
    __slots__ = ("hard", "soft")
    HARD_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    hard: _containers.RepeatedCompositeFieldContainer[LabelConstraint]
    soft: _containers.RepeatedCompositeFieldContainer[LabelConstraint]
    def __init__(self, hard: _Optional[_Iterable[_Union[LabelConstraint, _Mapping]]] = ..., soft: _Optional[_Iterable[_Union[LabelConstraint, _Mapping]]] = ...) -> None: ...

class PlacementGroupUse(_message.Message):
    __slots__ = ("placement_group_id", "bundle_index", "capture_child_tasks")
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_INDEX_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_CHILD_TASKS_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    bundle_index: int
    capture_child_tasks: bool
    def __init__(self, placement_group_id: _Optional[bytes] = ..., bundle_index: _Optional[int] = ..., capture_child_tasks: bool = ...) -> None: ...

class SchedulingStrategy(_message.Message):
    __slots__ = ("simple", "node_affinity", "node_labels", "placement_group", "label_selector")
    class Simple(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DEFAULT: _ClassVar[SchedulingStrategy.Simple]
        SPREAD: _ClassVar[SchedulingStrategy.Simple]
    DEFAULT: SchedulingStrategy.Simple
    SPREAD: SchedulingStrategy.Simple
    SIMPLE_FIELD_NUMBER: _ClassVar[int]
    NODE_AFFINITY_FIELD_NUMBER: _ClassVar[int]
    NODE_LABELS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    LABEL_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    simple: SchedulingStrategy.Simple
    node_affinity: NodeAffinity
    node_labels: NodeLabels
    placement_group: PlacementGroupUse
    label_selector: _containers.RepeatedCompositeFieldContainer[LabelConstraint]
    def __init__(self, simple: _Optional[_Union[SchedulingStrategy.Simple, str]] = ..., node_affinity: _Optional[_Union[NodeAffinity, _Mapping]] = ..., node_labels: _Optional[_Union[NodeLabels, _Mapping]] = ..., placement_group: _Optional[_Union[PlacementGroupUse, _Mapping]] = ..., label_selector: _Optional[_Iterable[_Union[LabelConstraint, _Mapping]]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("received",)
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    received: int
    def __init__(self, received: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("role", "node_id", "worker_id", "job_id", "pid", "name", "session")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    role: Role
    node_id: bytes
    worker_id: bytes
    job_id: bytes
    pid: int
    name: str
    session: Session
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., node_id: _Optional[bytes] = ..., worker_id: _Optional[bytes] = ..., job_id: _Optional[bytes] = ..., pid: _Optional[int] = ..., name: _Optional[str] = ..., session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("node_id", "details", "session")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    details: bytes
    session: Session
    def __init__(self, node_id: _Optional[bytes] = ..., details: _Optional[bytes] = ..., session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("kind", "payload")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    kind: int
    payload: bytes
    def __init__(self, kind: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class DeathCause(_message.Message):
    __slots__ = ("kind", "message", "exit_code", "node_id", "pid", "error", "last_log_lines")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[DeathCause.Kind]
        WORKER_DIED: _ClassVar[DeathCause.Kind]
        NODE_DIED: _ClassVar[DeathCause.Kind]
        OWNER_DIED: _ClassVar[DeathCause.Kind]
        JOB_FINISHED: _ClassVar[DeathCause.Kind]
        KILLED: _ClassVar[DeathCause.Kind]
        INIT_FAILED: _ClassVar[DeathCause.Kind]
        OUT_OF_SCOPE: _ClassVar[DeathCause.Kind]
        INTENDED: _ClassVar[DeathCause.Kind]
        OUT_OF_MEMORY: _ClassVar[DeathCause.Kind]
        PLACEMENT_GROUP_REMOVED: _ClassVar[DeathCause.Kind]
        UNSCHEDULABLE: _ClassVar[DeathCause.Kind]
        RUNTIME_ENV_FAILED: _ClassVar[DeathCause.Kind]
        LEASE_HOLDER_DIED: _ClassVar[DeathCause.Kind]
    UNKNOWN: DeathCause.Kind
    WORKER_DIED: DeathCause.Kind
    NODE_DIED: DeathCause.Kind
    OWNER_DIED: DeathCause.Kind
    JOB_FINISHED: DeathCause.Kind
    KILLED: DeathCause.Kind
    INIT_FAILED: DeathCause.Kind
    OUT_OF_SCOPE: DeathCause.Kind
    INTENDED: DeathCause.Kind
    OUT_OF_MEMORY: DeathCause.Kind
    PLACEMENT_GROUP_REMOVED: DeathCause.Kind
    UNSCHEDULABLE: DeathCause.Kind
    RUNTIME_ENV_FAILED: DeathCause.Kind
    LEASE_HOLDER_DIED: DeathCause.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LAST_LOG_LINES_FIELD_NUMBER: _ClassVar[int]
    kind: DeathCause.Kind
    message: str
    exit_code: int
    node_id: bytes
    pid: int
    error: bytes
    last_log_lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[_Union[DeathCause.Kind, str]] = ..., message: _Optional[str] = ..., exit_code: _Optional[int] = ..., node_id: _Optional[bytes] = ..., pid: _Optional[int] = ..., error: _Optional[bytes] = ..., last_log_lines: _Optional[_Iterable[str]] = ...) -> None: ...

class DeadWorker(_message.Message):
    __slots__ = ("address", "cause", "launched_at", "started_at", "ended_at")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    LAUNCHED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    address: WorkerAddress
    cause: DeathCause
    launched_at: float
    started_at: float
    ended_at: float
    def __init__(self, address: _Optional[_Union[WorkerAddress, _Mapping]] = ..., cause: _Optional[_Union[DeathCause, _Mapping]] = ..., launched_at: _Optional[float] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ...) -> None: ...

class NodeInfo(_message.Message):
    __slots__ = ("node_id", "state", "raylet_address", "flight_address", "object_manager_address", "hostname", "machine_id", "socket_dir", "session_dir", "total", "labels", "node_name", "is_head", "metrics", "death_cause", "started_at", "ended_at", "version", "ip_address", "drain_message", "drain_deadline")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ALIVE: _ClassVar[NodeInfo.State]
        DRAINING: _ClassVar[NodeInfo.State]
        DEAD: _ClassVar[NodeInfo.State]
    ALIVE: NodeInfo.State
    DRAINING: NodeInfo.State
    DEAD: NodeInfo.State
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RAYLET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    FLIGHT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MANAGER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    SOCKET_DIR_FIELD_NUMBER: _ClassVar[int]
    SESSION_DIR_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    IS_HEAD_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    DEATH_CAUSE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    state: NodeInfo.State
    raylet_address: str
    flight_address: str
    object_manager_address: str
    hostname: str
    machine_id: str
    socket_dir: str
    session_dir: str
    total: Resources
    labels: _containers.ScalarMap[str, str]
    node_name: str
    is_head: bool
    metrics: _containers.ScalarMap[str, str]
    death_cause: DeathCause
    started_at: float
    ended_at: float
    version: str
    ip_address: str
    drain_message: str
    drain_deadline: float
    def __init__(self, node_id: _Optional[bytes] = ..., state: _Optional[_Union[NodeInfo.State, str]] = ..., raylet_address: _Optional[str] = ..., flight_address: _Optional[str] = ..., object_manager_address: _Optional[str] = ..., hostname: _Optional[str] = ..., machine_id: _Optional[str] = ..., socket_dir: _Optional[str] = ..., session_dir: _Optional[str] = ..., total: _Optional[_Union[Resources, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., node_name: _Optional[str] = ..., is_head: bool = ..., metrics: _Optional[_Mapping[str, str]] = ..., death_cause: _Optional[_Union[DeathCause, _Mapping]] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., version: _Optional[str] = ..., ip_address: _Optional[str] = ..., drain_message: _Optional[str] = ..., drain_deadline: _Optional[float] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("kind", "data", "buffers", "contained")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PICKLE: _ClassVar[Value.Kind]
        ERROR: _ClassVar[Value.Kind]
        RAW: _ClassVar[Value.Kind]
    PICKLE: Value.Kind
    ERROR: Value.Kind
    RAW: Value.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    CONTAINED_FIELD_NUMBER: _ClassVar[int]
    kind: Value.Kind
    data: bytes
    buffers: _containers.RepeatedScalarFieldContainer[bytes]
    contained: _containers.RepeatedCompositeFieldContainer[ObjectReference]
    def __init__(self, kind: _Optional[_Union[Value.Kind, str]] = ..., data: _Optional[bytes] = ..., buffers: _Optional[_Iterable[bytes]] = ..., contained: _Optional[_Iterable[_Union[ObjectReference, _Mapping]]] = ...) -> None: ...
