from manta_proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlacementGroupState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PG_PENDING: _ClassVar[PlacementGroupState]
    PG_PREPARED: _ClassVar[PlacementGroupState]
    PG_CREATED: _ClassVar[PlacementGroupState]
    PG_RESCHEDULING: _ClassVar[PlacementGroupState]
    PG_REMOVED: _ClassVar[PlacementGroupState]
PG_PENDING: PlacementGroupState
PG_PREPARED: PlacementGroupState
PG_CREATED: PlacementGroupState
PG_RESCHEDULING: PlacementGroupState
PG_REMOVED: PlacementGroupState

class BundleSpec(_message.Message):
    __slots__ = ("resources", "label_selector")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    LABEL_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    resources: _common_pb2.Resources
    label_selector: _containers.RepeatedCompositeFieldContainer[_common_pb2.LabelConstraint]
    def __init__(self, resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., label_selector: _Optional[_Iterable[_Union[_common_pb2.LabelConstraint, _Mapping]]] = ...) -> None: ...

class PlacementGroupSpec(_message.Message):
    __slots__ = ("placement_group_id", "name", "ray_namespace", "strategy", "bundles", "creator_job_id", "creator", "detached", "soft_target_node_id", "owner_actor_id")
    class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PACK: _ClassVar[PlacementGroupSpec.Strategy]
        SPREAD: _ClassVar[PlacementGroupSpec.Strategy]
        STRICT_PACK: _ClassVar[PlacementGroupSpec.Strategy]
        STRICT_SPREAD: _ClassVar[PlacementGroupSpec.Strategy]
    PACK: PlacementGroupSpec.Strategy
    SPREAD: PlacementGroupSpec.Strategy
    STRICT_PACK: PlacementGroupSpec.Strategy
    STRICT_SPREAD: PlacementGroupSpec.Strategy
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    CREATOR_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    SOFT_TARGET_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    name: str
    ray_namespace: str
    strategy: PlacementGroupSpec.Strategy
    bundles: _containers.RepeatedCompositeFieldContainer[BundleSpec]
    creator_job_id: bytes
    creator: _common_pb2.WorkerAddress
    detached: bool
    soft_target_node_id: bytes
    owner_actor_id: bytes
    def __init__(self, placement_group_id: _Optional[bytes] = ..., name: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., strategy: _Optional[_Union[PlacementGroupSpec.Strategy, str]] = ..., bundles: _Optional[_Iterable[_Union[BundleSpec, _Mapping]]] = ..., creator_job_id: _Optional[bytes] = ..., creator: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., detached: bool = ..., soft_target_node_id: _Optional[bytes] = ..., owner_actor_id: _Optional[bytes] = ...) -> None: ...

class BundlePlacement(_message.Message):
    __slots__ = ("node_id", "attempt", "available", "resources")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    attempt: int
    available: _common_pb2.Resources
    resources: _common_pb2.Resources
    def __init__(self, node_id: _Optional[bytes] = ..., attempt: _Optional[int] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ...) -> None: ...

class PlacementGroupStatus(_message.Message):
    __slots__ = ("placement_group_id", "state", "bundles", "requested_at", "created_at", "ended_at", "attempted_at", "attempts", "pending_reason", "cause", "scheduling_state")
    class SchedulingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        QUEUED: _ClassVar[PlacementGroupStatus.SchedulingState]
        SCHEDULING_STARTED: _ClassVar[PlacementGroupStatus.SchedulingState]
        NO_RESOURCES: _ClassVar[PlacementGroupStatus.SchedulingState]
        INFEASIBLE: _ClassVar[PlacementGroupStatus.SchedulingState]
        FINISHED: _ClassVar[PlacementGroupStatus.SchedulingState]
        REMOVED: _ClassVar[PlacementGroupStatus.SchedulingState]
    QUEUED: PlacementGroupStatus.SchedulingState
    SCHEDULING_STARTED: PlacementGroupStatus.SchedulingState
    NO_RESOURCES: PlacementGroupStatus.SchedulingState
    INFEASIBLE: PlacementGroupStatus.SchedulingState
    FINISHED: PlacementGroupStatus.SchedulingState
    REMOVED: PlacementGroupStatus.SchedulingState
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    PENDING_REASON_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_STATE_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    state: PlacementGroupState
    bundles: _containers.RepeatedCompositeFieldContainer[BundlePlacement]
    requested_at: float
    created_at: float
    ended_at: float
    attempted_at: float
    attempts: int
    pending_reason: str
    cause: _common_pb2.DeathCause
    scheduling_state: PlacementGroupStatus.SchedulingState
    def __init__(self, placement_group_id: _Optional[bytes] = ..., state: _Optional[_Union[PlacementGroupState, str]] = ..., bundles: _Optional[_Iterable[_Union[BundlePlacement, _Mapping]]] = ..., requested_at: _Optional[float] = ..., created_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., attempted_at: _Optional[float] = ..., attempts: _Optional[int] = ..., pending_reason: _Optional[str] = ..., cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ..., scheduling_state: _Optional[_Union[PlacementGroupStatus.SchedulingState, str]] = ...) -> None: ...

class PlacementGroupInfo(_message.Message):
    __slots__ = ("spec", "status")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    spec: PlacementGroupSpec
    status: PlacementGroupStatus
    def __init__(self, spec: _Optional[_Union[PlacementGroupSpec, _Mapping]] = ..., status: _Optional[_Union[PlacementGroupStatus, _Mapping]] = ...) -> None: ...

class CreatePlacementGroup(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: PlacementGroupSpec
    def __init__(self, spec: _Optional[_Union[PlacementGroupSpec, _Mapping]] = ...) -> None: ...

class AwaitPlacementGroup(_message.Message):
    __slots__ = ("placement_group_id",)
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    def __init__(self, placement_group_id: _Optional[bytes] = ...) -> None: ...

class RemovePlacementGroup(_message.Message):
    __slots__ = ("placement_group_id",)
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    def __init__(self, placement_group_id: _Optional[bytes] = ...) -> None: ...

class FindPlacementGroup(_message.Message):
    __slots__ = ("name", "ray_namespace", "placement_group_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    ray_namespace: str
    placement_group_id: bytes
    def __init__(self, name: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., placement_group_id: _Optional[bytes] = ...) -> None: ...

class ListPlacementGroups(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PlacementGroupList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PlacementGroupInfo]
    def __init__(self, items: _Optional[_Iterable[_Union[PlacementGroupInfo, _Mapping]]] = ...) -> None: ...

class PlacementGroupDemand(_message.Message):
    __slots__ = ("strategy", "bundles", "count", "reason", "rescheduling")
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESCHEDULING_FIELD_NUMBER: _ClassVar[int]
    strategy: PlacementGroupSpec.Strategy
    bundles: _containers.RepeatedCompositeFieldContainer[_common_pb2.Resources]
    count: int
    reason: str
    rescheduling: bool
    def __init__(self, strategy: _Optional[_Union[PlacementGroupSpec.Strategy, str]] = ..., bundles: _Optional[_Iterable[_Union[_common_pb2.Resources, _Mapping]]] = ..., count: _Optional[int] = ..., reason: _Optional[str] = ..., rescheduling: bool = ...) -> None: ...

class BundleOrder(_message.Message):
    __slots__ = ("action", "placement_group_id", "index", "attempt", "resources", "cause")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PREPARE: _ClassVar[BundleOrder.Action]
        COMMIT: _ClassVar[BundleOrder.Action]
        RETURN: _ClassVar[BundleOrder.Action]
    PREPARE: BundleOrder.Action
    COMMIT: BundleOrder.Action
    RETURN: BundleOrder.Action
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    action: BundleOrder.Action
    placement_group_id: bytes
    index: int
    attempt: int
    resources: _common_pb2.Resources
    cause: _common_pb2.DeathCause
    def __init__(self, action: _Optional[_Union[BundleOrder.Action, str]] = ..., placement_group_id: _Optional[bytes] = ..., index: _Optional[int] = ..., attempt: _Optional[int] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ...) -> None: ...

class BundleOrders(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[BundleOrder]
    def __init__(self, orders: _Optional[_Iterable[_Union[BundleOrder, _Mapping]]] = ...) -> None: ...

class BundleOutcome(_message.Message):
    __slots__ = ("placement_group_id", "index", "attempt", "outcome", "reason")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PREPARED: _ClassVar[BundleOutcome.Outcome]
        COMMITTED: _ClassVar[BundleOutcome.Outcome]
        REFUSED: _ClassVar[BundleOutcome.Outcome]
        RETURNED: _ClassVar[BundleOutcome.Outcome]
    PREPARED: BundleOutcome.Outcome
    COMMITTED: BundleOutcome.Outcome
    REFUSED: BundleOutcome.Outcome
    RETURNED: BundleOutcome.Outcome
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    index: int
    attempt: int
    outcome: BundleOutcome.Outcome
    reason: str
    def __init__(self, placement_group_id: _Optional[bytes] = ..., index: _Optional[int] = ..., attempt: _Optional[int] = ..., outcome: _Optional[_Union[BundleOutcome.Outcome, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class BundleReport(_message.Message):
    __slots__ = ("outcomes", "available")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BundleOutcome]
    available: _common_pb2.Resources
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BundleOutcome, _Mapping]]] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ...) -> None: ...

class HeldBundle(_message.Message):
    __slots__ = ("placement_group_id", "index", "attempt", "committed", "resources", "available")
    PLACEMENT_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    placement_group_id: bytes
    index: int
    attempt: int
    committed: bool
    resources: _common_pb2.Resources
    available: _common_pb2.Resources
    def __init__(self, placement_group_id: _Optional[bytes] = ..., index: _Optional[int] = ..., attempt: _Optional[int] = ..., committed: bool = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ...) -> None: ...

class WatchPlacementGroups(_message.Message):
    __slots__ = ("add", "drop")
    ADD_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    add: _containers.RepeatedScalarFieldContainer[bytes]
    drop: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, add: _Optional[_Iterable[bytes]] = ..., drop: _Optional[_Iterable[bytes]] = ...) -> None: ...
