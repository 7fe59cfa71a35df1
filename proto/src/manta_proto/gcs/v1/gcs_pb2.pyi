from manta_proto.common.v1 import common_pb2 as _common_pb2
from manta_proto.gcs.v1 import actor_pb2 as _actor_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as _placement_group_pb2
from manta_proto.gcs.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClientBatch(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ClientRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ClientRequest, _Mapping]]] = ...) -> None: ...

class ClientRequest(_message.Message):
    __slots__ = ("request_id", "hello", "register_job", "finish_job", "register_actor", "kill_actor", "actor_out_of_scope", "find_actor", "list_named_actors", "subscribe_actors", "kv_put", "kv_get", "kv_delete", "kv_keys", "list_nodes", "list_actors", "list_jobs", "cluster_status", "create_placement_group", "await_placement_group", "remove_placement_group", "find_placement_group", "list_placement_groups", "list_tasks", "summarize_tasks", "list_dead_workers", "announce_actor", "forsake_actor", "drain_node")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REGISTER_JOB_FIELD_NUMBER: _ClassVar[int]
    FINISH_JOB_FIELD_NUMBER: _ClassVar[int]
    REGISTER_ACTOR_FIELD_NUMBER: _ClassVar[int]
    KILL_ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_OUT_OF_SCOPE_FIELD_NUMBER: _ClassVar[int]
    FIND_ACTOR_FIELD_NUMBER: _ClassVar[int]
    LIST_NAMED_ACTORS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_ACTORS_FIELD_NUMBER: _ClassVar[int]
    KV_PUT_FIELD_NUMBER: _ClassVar[int]
    KV_GET_FIELD_NUMBER: _ClassVar[int]
    KV_DELETE_FIELD_NUMBER: _ClassVar[int]
    KV_KEYS_FIELD_NUMBER: _ClassVar[int]
    LIST_NODES_FIELD_NUMBER: _ClassVar[int]
    LIST_ACTORS_FIELD_NUMBER: _ClassVar[int]
    LIST_JOBS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    AWAIT_PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    REMOVE_PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    FIND_PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    LIST_PLACEMENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    LIST_TASKS_FIELD_NUMBER: _ClassVar[int]
    SUMMARIZE_TASKS_FIELD_NUMBER: _ClassVar[int]
    LIST_DEAD_WORKERS_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_ACTOR_FIELD_NUMBER: _ClassVar[int]
    FORSAKE_ACTOR_FIELD_NUMBER: _ClassVar[int]
    DRAIN_NODE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    hello: _common_pb2.Hello
    register_job: RegisterJob
    finish_job: FinishJob
    register_actor: RegisterActor
    kill_actor: KillActorRequest
    actor_out_of_scope: ActorOutOfScope
    find_actor: FindActor
    list_named_actors: ListNamedActors
    subscribe_actors: SubscribeActors
    kv_put: KvPut
    kv_get: KvGet
    kv_delete: KvDelete
    kv_keys: KvKeys
    list_nodes: ListNodes
    list_actors: ListActors
    list_jobs: ListJobs
    cluster_status: ClusterStatusRequest
    create_placement_group: _placement_group_pb2.CreatePlacementGroup
    await_placement_group: _placement_group_pb2.AwaitPlacementGroup
    remove_placement_group: _placement_group_pb2.RemovePlacementGroup
    find_placement_group: _placement_group_pb2.FindPlacementGroup
    list_placement_groups: _placement_group_pb2.ListPlacementGroups
    list_tasks: _task_pb2.ListTasks
    summarize_tasks: _task_pb2.SummarizeTasks
    list_dead_workers: ListDeadWorkers
    announce_actor: AnnounceActor
    forsake_actor: ForsakeActor
    drain_node: DrainNode
    def __init__(self, request_id: _Optional[int] = ..., hello: _Optional[_Union[_common_pb2.Hello, _Mapping]] = ..., register_job: _Optional[_Union[RegisterJob, _Mapping]] = ..., finish_job: _Optional[_Union[FinishJob, _Mapping]] = ..., register_actor: _Optional[_Union[RegisterActor, _Mapping]] = ..., kill_actor: _Optional[_Union[KillActorRequest, _Mapping]] = ..., actor_out_of_scope: _Optional[_Union[ActorOutOfScope, _Mapping]] = ..., find_actor: _Optional[_Union[FindActor, _Mapping]] = ..., list_named_actors: _Optional[_Union[ListNamedActors, _Mapping]] = ..., subscribe_actors: _Optional[_Union[SubscribeActors, _Mapping]] = ..., kv_put: _Optional[_Union[KvPut, _Mapping]] = ..., kv_get: _Optional[_Union[KvGet, _Mapping]] = ..., kv_delete: _Optional[_Union[KvDelete, _Mapping]] = ..., kv_keys: _Optional[_Union[KvKeys, _Mapping]] = ..., list_nodes: _Optional[_Union[ListNodes, _Mapping]] = ..., list_actors: _Optional[_Union[ListActors, _Mapping]] = ..., list_jobs: _Optional[_Union[ListJobs, _Mapping]] = ..., cluster_status: _Optional[_Union[ClusterStatusRequest, _Mapping]] = ..., create_placement_group: _Optional[_Union[_placement_group_pb2.CreatePlacementGroup, _Mapping]] = ..., await_placement_group: _Optional[_Union[_placement_group_pb2.AwaitPlacementGroup, _Mapping]] = ..., remove_placement_group: _Optional[_Union[_placement_group_pb2.RemovePlacementGroup, _Mapping]] = ..., find_placement_group: _Optional[_Union[_placement_group_pb2.FindPlacementGroup, _Mapping]] = ..., list_placement_groups: _Optional[_Union[_placement_group_pb2.ListPlacementGroups, _Mapping]] = ..., list_tasks: _Optional[_Union[_task_pb2.ListTasks, _Mapping]] = ..., summarize_tasks: _Optional[_Union[_task_pb2.SummarizeTasks, _Mapping]] = ..., list_dead_workers: _Optional[_Union[ListDeadWorkers, _Mapping]] = ..., announce_actor: _Optional[_Union[AnnounceActor, _Mapping]] = ..., forsake_actor: _Optional[_Union[ForsakeActor, _Mapping]] = ..., drain_node: _Optional[_Union[DrainNode, _Mapping]] = ...) -> None: ...

class GcsBatch(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[GcsReply]
    def __init__(self, replies: _Optional[_Iterable[_Union[GcsReply, _Mapping]]] = ...) -> None: ...

class GcsReply(_message.Message):
    __slots__ = ("request_id", "done", "error", "welcome", "job_registered", "actor_found", "named_actors", "actor_statuses", "kv_value", "kv_key_list", "node_list", "actor_list", "job_list", "cluster_status", "kv_changed", "placement_group_found", "placement_group_list", "task_list", "task_summary", "dead_worker_list", "node_drain")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    JOB_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FOUND_FIELD_NUMBER: _ClassVar[int]
    NAMED_ACTORS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_STATUSES_FIELD_NUMBER: _ClassVar[int]
    KV_VALUE_FIELD_NUMBER: _ClassVar[int]
    KV_KEY_LIST_FIELD_NUMBER: _ClassVar[int]
    NODE_LIST_FIELD_NUMBER: _ClassVar[int]
    ACTOR_LIST_FIELD_NUMBER: _ClassVar[int]
    JOB_LIST_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_STATUS_FIELD_NUMBER: _ClassVar[int]
    KV_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_FOUND_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_LIST_FIELD_NUMBER: _ClassVar[int]
    TASK_LIST_FIELD_NUMBER: _ClassVar[int]
    TASK_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DEAD_WORKER_LIST_FIELD_NUMBER: _ClassVar[int]
    NODE_DRAIN_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    done: Empty
    error: Error
    welcome: GcsWelcome
    job_registered: JobRegistered
    actor_found: ActorFound
    named_actors: NamedActors
    actor_statuses: ActorStatuses
    kv_value: KvValue
    kv_key_list: KvKeyList
    node_list: NodeList
    actor_list: ActorList
    job_list: JobList
    cluster_status: ClusterStatus
    kv_changed: KvChanged
    placement_group_found: _placement_group_pb2.PlacementGroupInfo
    placement_group_list: _placement_group_pb2.PlacementGroupList
    task_list: _task_pb2.TaskList
    task_summary: _task_pb2.TaskSummary
    dead_worker_list: DeadWorkerList
    node_drain: NodeDrain
    def __init__(self, request_id: _Optional[int] = ..., done: _Optional[_Union[Empty, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., welcome: _Optional[_Union[GcsWelcome, _Mapping]] = ..., job_registered: _Optional[_Union[JobRegistered, _Mapping]] = ..., actor_found: _Optional[_Union[ActorFound, _Mapping]] = ..., named_actors: _Optional[_Union[NamedActors, _Mapping]] = ..., actor_statuses: _Optional[_Union[ActorStatuses, _Mapping]] = ..., kv_value: _Optional[_Union[KvValue, _Mapping]] = ..., kv_key_list: _Optional[_Union[KvKeyList, _Mapping]] = ..., node_list: _Optional[_Union[NodeList, _Mapping]] = ..., actor_list: _Optional[_Union[ActorList, _Mapping]] = ..., job_list: _Optional[_Union[JobList, _Mapping]] = ..., cluster_status: _Optional[_Union[ClusterStatus, _Mapping]] = ..., kv_changed: _Optional[_Union[KvChanged, _Mapping]] = ..., placement_group_found: _Optional[_Union[_placement_group_pb2.PlacementGroupInfo, _Mapping]] = ..., placement_group_list: _Optional[_Union[_placement_group_pb2.PlacementGroupList, _Mapping]] = ..., task_list: _Optional[_Union[_task_pb2.TaskList, _Mapping]] = ..., task_summary: _Optional[_Union[_task_pb2.TaskSummary, _Mapping]] = ..., dead_worker_list: _Optional[_Union[DeadWorkerList, _Mapping]] = ..., node_drain: _Optional[_Union[NodeDrain, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "leader")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Error.Code]
        NOT_FOUND: _ClassVar[Error.Code]
        ALREADY_EXISTS: _ClassVar[Error.Code]
        INVALID: _ClassVar[Error.Code]
        NOT_LEADER: _ClassVar[Error.Code]
        UNAVAILABLE: _ClassVar[Error.Code]
    UNKNOWN: Error.Code
    NOT_FOUND: Error.Code
    ALREADY_EXISTS: Error.Code
    INVALID: Error.Code
    NOT_LEADER: Error.Code
    UNAVAILABLE: Error.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    code: Error.Code
    message: str
    leader: str
    def __init__(self, code: _Optional[_Union[Error.Code, str]] = ..., message: _Optional[str] = ..., leader: _Optional[str] = ...) -> None: ...

class GcsWelcome(_message.Message):
    __slots__ = ("cluster_id", "epoch", "version", "session_name")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_NAME_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    epoch: int
    version: str
    session_name: str
    def __init__(self, cluster_id: _Optional[str] = ..., epoch: _Optional[int] = ..., version: _Optional[str] = ..., session_name: _Optional[str] = ...) -> None: ...

class JobRecord(_message.Message):
    __slots__ = ("job_id", "driver", "driver_pid", "ray_namespace", "entrypoint", "config", "started_at", "ended_at", "finished", "sys_path", "working_directory", "runtime_env", "metadata", "driver_ip")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    DRIVER_PID_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SYS_PATH_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ENV_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DRIVER_IP_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    driver: _common_pb2.WorkerAddress
    driver_pid: int
    ray_namespace: str
    entrypoint: str
    config: str
    started_at: float
    ended_at: float
    finished: bool
    sys_path: _containers.RepeatedScalarFieldContainer[str]
    working_directory: str
    runtime_env: str
    metadata: _containers.ScalarMap[str, str]
    driver_ip: str
    def __init__(self, job_id: _Optional[bytes] = ..., driver: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., driver_pid: _Optional[int] = ..., ray_namespace: _Optional[str] = ..., entrypoint: _Optional[str] = ..., config: _Optional[str] = ..., started_at: _Optional[float] = ..., ended_at: _Optional[float] = ..., finished: bool = ..., sys_path: _Optional[_Iterable[str]] = ..., working_directory: _Optional[str] = ..., runtime_env: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., driver_ip: _Optional[str] = ...) -> None: ...

class RegisterJob(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: JobRecord
    def __init__(self, job: _Optional[_Union[JobRecord, _Mapping]] = ...) -> None: ...

class JobRegistered(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: JobRecord
    def __init__(self, job: _Optional[_Union[JobRecord, _Mapping]] = ...) -> None: ...

class FinishJob(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    def __init__(self, job_id: _Optional[bytes] = ...) -> None: ...

class RegisterActor(_message.Message):
    __slots__ = ("spec", "get_if_exists")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    GET_IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    get_if_exists: bool
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., get_if_exists: bool = ...) -> None: ...

class AnnounceActor(_message.Message):
    __slots__ = ("spec", "get_if_exists")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    GET_IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    get_if_exists: bool
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., get_if_exists: bool = ...) -> None: ...

class ForsakeActor(_message.Message):
    __slots__ = ("actor_id", "cause")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    cause: _common_pb2.DeathCause
    def __init__(self, actor_id: _Optional[bytes] = ..., cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ...) -> None: ...

class ActorFound(_message.Message):
    __slots__ = ("spec", "status", "existed")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    status: _actor_pb2.ActorStatus
    existed: bool
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., status: _Optional[_Union[_actor_pb2.ActorStatus, _Mapping]] = ..., existed: bool = ...) -> None: ...

class KillActorRequest(_message.Message):
    __slots__ = ("actor_id", "no_restart", "incarnation")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    NO_RESTART_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    no_restart: bool
    incarnation: int
    def __init__(self, actor_id: _Optional[bytes] = ..., no_restart: bool = ..., incarnation: _Optional[int] = ...) -> None: ...

class ActorOutOfScope(_message.Message):
    __slots__ = ("actor_id",)
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    def __init__(self, actor_id: _Optional[bytes] = ...) -> None: ...

class FindActor(_message.Message):
    __slots__ = ("name", "ray_namespace", "actor_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    ray_namespace: str
    actor_id: bytes
    def __init__(self, name: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., actor_id: _Optional[bytes] = ...) -> None: ...

class ListNamedActors(_message.Message):
    __slots__ = ("all_namespaces", "ray_namespace")
    ALL_NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    all_namespaces: bool
    ray_namespace: str
    def __init__(self, all_namespaces: bool = ..., ray_namespace: _Optional[str] = ...) -> None: ...

class NamedActors(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("name", "ray_namespace", "actor_id")
        NAME_FIELD_NUMBER: _ClassVar[int]
        RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
        ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
        name: str
        ray_namespace: str
        actor_id: bytes
        def __init__(self, name: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., actor_id: _Optional[bytes] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[NamedActors.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[NamedActors.Item, _Mapping]]] = ...) -> None: ...

class SubscribeActors(_message.Message):
    __slots__ = ("actor_ids",)
    ACTOR_IDS_FIELD_NUMBER: _ClassVar[int]
    actor_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, actor_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ActorStatuses(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[_actor_pb2.ActorStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[_actor_pb2.ActorStatus, _Mapping]]] = ...) -> None: ...

class KvPut(_message.Message):
    __slots__ = ("ray_namespace", "key", "value", "overwrite")
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    ray_namespace: str
    key: bytes
    value: bytes
    overwrite: bool
    def __init__(self, ray_namespace: _Optional[str] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., overwrite: bool = ...) -> None: ...

class KvGet(_message.Message):
    __slots__ = ("ray_namespace", "key")
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ray_namespace: str
    key: bytes
    def __init__(self, ray_namespace: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class KvDelete(_message.Message):
    __slots__ = ("ray_namespace", "key", "by_prefix")
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    BY_PREFIX_FIELD_NUMBER: _ClassVar[int]
    ray_namespace: str
    key: bytes
    by_prefix: bool
    def __init__(self, ray_namespace: _Optional[str] = ..., key: _Optional[bytes] = ..., by_prefix: bool = ...) -> None: ...

class KvKeys(_message.Message):
    __slots__ = ("ray_namespace", "prefix")
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ray_namespace: str
    prefix: bytes
    def __init__(self, ray_namespace: _Optional[str] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class KvValue(_message.Message):
    __slots__ = ("found", "value")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    found: bool
    value: bytes
    def __init__(self, found: bool = ..., value: _Optional[bytes] = ...) -> None: ...

class KvChanged(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class KvKeyList(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ListNodes(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeList(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("info", "available", "demands", "bundles", "arena_used")
        INFO_FIELD_NUMBER: _ClassVar[int]
        AVAILABLE_FIELD_NUMBER: _ClassVar[int]
        DEMANDS_FIELD_NUMBER: _ClassVar[int]
        BUNDLES_FIELD_NUMBER: _ClassVar[int]
        ARENA_USED_FIELD_NUMBER: _ClassVar[int]
        info: _common_pb2.NodeInfo
        available: _common_pb2.Resources
        demands: _containers.RepeatedCompositeFieldContainer[ResourceDemand]
        bundles: _containers.RepeatedCompositeFieldContainer[_placement_group_pb2.HeldBundle]
        arena_used: int
        def __init__(self, info: _Optional[_Union[_common_pb2.NodeInfo, _Mapping]] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., demands: _Optional[_Iterable[_Union[ResourceDemand, _Mapping]]] = ..., bundles: _Optional[_Iterable[_Union[_placement_group_pb2.HeldBundle, _Mapping]]] = ..., arena_used: _Optional[int] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[NodeList.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[NodeList.Item, _Mapping]]] = ...) -> None: ...

class ListActors(_message.Message):
    __slots__ = ("actor_id", "filters", "limit")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    filters: _containers.RepeatedCompositeFieldContainer[_task_pb2.StateFilter]
    limit: int
    def __init__(self, actor_id: _Optional[bytes] = ..., filters: _Optional[_Iterable[_Union[_task_pb2.StateFilter, _Mapping]]] = ..., limit: _Optional[int] = ...) -> None: ...

class ActorList(_message.Message):
    __slots__ = ("items", "total", "matched")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ActorFound]
    total: int
    matched: int
    def __init__(self, items: _Optional[_Iterable[_Union[ActorFound, _Mapping]]] = ..., total: _Optional[int] = ..., matched: _Optional[int] = ...) -> None: ...

class ListDeadWorkers(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeadWorkerList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    def __init__(self, items: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ...) -> None: ...

class ListJobs(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JobList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[JobRecord]
    def __init__(self, items: _Optional[_Iterable[_Union[JobRecord, _Mapping]]] = ...) -> None: ...

class ClusterStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResourceDemand(_message.Message):
    __slots__ = ("resources", "count", "reason", "in_placement_groups", "job_id")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IN_PLACEMENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    resources: _common_pb2.Resources
    count: int
    reason: str
    in_placement_groups: int
    job_id: bytes
    def __init__(self, resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., count: _Optional[int] = ..., reason: _Optional[str] = ..., in_placement_groups: _Optional[int] = ..., job_id: _Optional[bytes] = ...) -> None: ...

class ClusterStatus(_message.Message):
    __slots__ = ("cluster_id", "store", "epoch", "nodes", "pending_actors", "at", "pending_placement_groups")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    PENDING_ACTORS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    PENDING_PLACEMENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    store: str
    epoch: int
    nodes: _containers.RepeatedCompositeFieldContainer[NodeList.Item]
    pending_actors: _containers.RepeatedCompositeFieldContainer[ResourceDemand]
    at: float
    pending_placement_groups: _containers.RepeatedCompositeFieldContainer[_placement_group_pb2.PlacementGroupDemand]
    def __init__(self, cluster_id: _Optional[str] = ..., store: _Optional[str] = ..., epoch: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[NodeList.Item, _Mapping]]] = ..., pending_actors: _Optional[_Iterable[_Union[ResourceDemand, _Mapping]]] = ..., at: _Optional[float] = ..., pending_placement_groups: _Optional[_Iterable[_Union[_placement_group_pb2.PlacementGroupDemand, _Mapping]]] = ...) -> None: ...

class NodeBatch(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[NodeToGcs]
    def __init__(self, messages: _Optional[_Iterable[_Union[NodeToGcs, _Mapping]]] = ...) -> None: ...

class NodeToGcs(_message.Message):
    __slots__ = ("attach", "heartbeat", "actor_report", "workers_died", "driver_gone", "drain_done", "bundle_report", "watch_placement_groups", "look_up_nodes", "task_events")
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_REPORT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_DIED_FIELD_NUMBER: _ClassVar[int]
    DRIVER_GONE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DONE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_REPORT_FIELD_NUMBER: _ClassVar[int]
    WATCH_PLACEMENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    LOOK_UP_NODES_FIELD_NUMBER: _ClassVar[int]
    TASK_EVENTS_FIELD_NUMBER: _ClassVar[int]
    attach: AttachNode
    heartbeat: Heartbeat
    actor_report: ActorReport
    workers_died: WorkersDiedReport
    driver_gone: DriverGone
    drain_done: DrainDone
    bundle_report: _placement_group_pb2.BundleReport
    watch_placement_groups: _placement_group_pb2.WatchPlacementGroups
    look_up_nodes: LookUpNodes
    task_events: _task_pb2.TaskEvents
    def __init__(self, attach: _Optional[_Union[AttachNode, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., actor_report: _Optional[_Union[ActorReport, _Mapping]] = ..., workers_died: _Optional[_Union[WorkersDiedReport, _Mapping]] = ..., driver_gone: _Optional[_Union[DriverGone, _Mapping]] = ..., drain_done: _Optional[_Union[DrainDone, _Mapping]] = ..., bundle_report: _Optional[_Union[_placement_group_pb2.BundleReport, _Mapping]] = ..., watch_placement_groups: _Optional[_Union[_placement_group_pb2.WatchPlacementGroups, _Mapping]] = ..., look_up_nodes: _Optional[_Union[LookUpNodes, _Mapping]] = ..., task_events: _Optional[_Union[_task_pb2.TaskEvents, _Mapping]] = ...) -> None: ...

class AttachNode(_message.Message):
    __slots__ = ("info", "available", "epoch", "actors", "recent_deaths", "job_ids", "bundles", "watched_placement_groups")
    INFO_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTORS_FIELD_NUMBER: _ClassVar[int]
    RECENT_DEATHS_FIELD_NUMBER: _ClassVar[int]
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    WATCHED_PLACEMENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.NodeInfo
    available: _common_pb2.Resources
    epoch: int
    actors: _containers.RepeatedCompositeFieldContainer[ActorReport]
    recent_deaths: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    job_ids: _containers.RepeatedScalarFieldContainer[bytes]
    bundles: _containers.RepeatedCompositeFieldContainer[_placement_group_pb2.HeldBundle]
    watched_placement_groups: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, info: _Optional[_Union[_common_pb2.NodeInfo, _Mapping]] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., epoch: _Optional[int] = ..., actors: _Optional[_Iterable[_Union[ActorReport, _Mapping]]] = ..., recent_deaths: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ..., job_ids: _Optional[_Iterable[bytes]] = ..., bundles: _Optional[_Iterable[_Union[_placement_group_pb2.HeldBundle, _Mapping]]] = ..., watched_placement_groups: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("available", "demands", "demands_changed", "used_bundles", "used_bundles_changed", "taken_actors", "leaves", "arena_used")
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    DEMANDS_FIELD_NUMBER: _ClassVar[int]
    DEMANDS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    USED_BUNDLES_FIELD_NUMBER: _ClassVar[int]
    USED_BUNDLES_CHANGED_FIELD_NUMBER: _ClassVar[int]
    TAKEN_ACTORS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    ARENA_USED_FIELD_NUMBER: _ClassVar[int]
    available: _common_pb2.Resources
    demands: _containers.RepeatedCompositeFieldContainer[ResourceDemand]
    demands_changed: bool
    used_bundles: _containers.RepeatedCompositeFieldContainer[_placement_group_pb2.HeldBundle]
    used_bundles_changed: bool
    taken_actors: _containers.RepeatedCompositeFieldContainer[ActorReport]
    leaves: bool
    arena_used: int
    def __init__(self, available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., demands: _Optional[_Iterable[_Union[ResourceDemand, _Mapping]]] = ..., demands_changed: bool = ..., used_bundles: _Optional[_Iterable[_Union[_placement_group_pb2.HeldBundle, _Mapping]]] = ..., used_bundles_changed: bool = ..., taken_actors: _Optional[_Iterable[_Union[ActorReport, _Mapping]]] = ..., leaves: bool = ..., arena_used: _Optional[int] = ...) -> None: ...

class ActorReport(_message.Message):
    __slots__ = ("actor_id", "incarnation", "address", "pid", "failure", "repr_name", "rejected")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    REPR_NAME_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    incarnation: int
    address: _common_pb2.WorkerAddress
    pid: int
    failure: _common_pb2.DeathCause
    repr_name: str
    rejected: bool
    def __init__(self, actor_id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., address: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., pid: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ..., repr_name: _Optional[str] = ..., rejected: bool = ...) -> None: ...

class WorkersDiedReport(_message.Message):
    __slots__ = ("report_id", "workers")
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    report_id: int
    workers: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    def __init__(self, report_id: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ...) -> None: ...

class DriverGone(_message.Message):
    __slots__ = ("job_id", "worker_id")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    worker_id: bytes
    def __init__(self, job_id: _Optional[bytes] = ..., worker_id: _Optional[bytes] = ...) -> None: ...

class DrainDone(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GcsToNodeBatch(_message.Message):
    __slots__ = ("epoch", "messages")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    messages: _containers.RepeatedCompositeFieldContainer[GcsToNode]
    def __init__(self, epoch: _Optional[int] = ..., messages: _Optional[_Iterable[_Union[GcsToNode, _Mapping]]] = ...) -> None: ...

class GcsToNode(_message.Message):
    __slots__ = ("attached", "node", "node_resources", "create_actor", "end_actor", "job_started", "job_ended", "workers_died", "workers_died_received", "declared_dead", "drain", "refused", "bundle_orders", "placement_group", "resource_news", "claims", "nodes_looked_up", "job_notice")
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    NODE_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CREATE_ACTOR_FIELD_NUMBER: _ClassVar[int]
    END_ACTOR_FIELD_NUMBER: _ClassVar[int]
    JOB_STARTED_FIELD_NUMBER: _ClassVar[int]
    JOB_ENDED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_DIED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_DIED_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    DECLARED_DEAD_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_ORDERS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NEWS_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    NODES_LOOKED_UP_FIELD_NUMBER: _ClassVar[int]
    JOB_NOTICE_FIELD_NUMBER: _ClassVar[int]
    attached: Attached
    node: _common_pb2.NodeInfo
    node_resources: NodeResources
    create_actor: CreateActor
    end_actor: EndActor
    job_started: JobStarted
    job_ended: JobEnded
    workers_died: WorkersDiedNotice
    workers_died_received: WorkersDiedReceived
    declared_dead: DeclaredDead
    drain: Drain
    refused: Error
    bundle_orders: _placement_group_pb2.BundleOrders
    placement_group: _placement_group_pb2.PlacementGroupStatus
    resource_news: ResourceNews
    claims: Claims
    nodes_looked_up: NodesLookedUp
    job_notice: JobNotice
    def __init__(self, attached: _Optional[_Union[Attached, _Mapping]] = ..., node: _Optional[_Union[_common_pb2.NodeInfo, _Mapping]] = ..., node_resources: _Optional[_Union[NodeResources, _Mapping]] = ..., create_actor: _Optional[_Union[CreateActor, _Mapping]] = ..., end_actor: _Optional[_Union[EndActor, _Mapping]] = ..., job_started: _Optional[_Union[JobStarted, _Mapping]] = ..., job_ended: _Optional[_Union[JobEnded, _Mapping]] = ..., workers_died: _Optional[_Union[WorkersDiedNotice, _Mapping]] = ..., workers_died_received: _Optional[_Union[WorkersDiedReceived, _Mapping]] = ..., declared_dead: _Optional[_Union[DeclaredDead, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., refused: _Optional[_Union[Error, _Mapping]] = ..., bundle_orders: _Optional[_Union[_placement_group_pb2.BundleOrders, _Mapping]] = ..., placement_group: _Optional[_Union[_placement_group_pb2.PlacementGroupStatus, _Mapping]] = ..., resource_news: _Optional[_Union[ResourceNews, _Mapping]] = ..., claims: _Optional[_Union[Claims, _Mapping]] = ..., nodes_looked_up: _Optional[_Union[NodesLookedUp, _Mapping]] = ..., job_notice: _Optional[_Union[JobNotice, _Mapping]] = ...) -> None: ...

class LookUpNodes(_message.Message):
    __slots__ = ("node_ids",)
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    node_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, node_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class NodesLookedUp(_message.Message):
    __slots__ = ("node_ids",)
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    node_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, node_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ("cluster_id", "nodes", "jobs", "recent_deaths", "ended_actors")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    RECENT_DEATHS_FIELD_NUMBER: _ClassVar[int]
    ENDED_ACTORS_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    nodes: _containers.RepeatedCompositeFieldContainer[_common_pb2.NodeInfo]
    jobs: _containers.RepeatedCompositeFieldContainer[JobRecord]
    recent_deaths: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    ended_actors: _containers.RepeatedCompositeFieldContainer[EndActor]
    def __init__(self, cluster_id: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[_common_pb2.NodeInfo, _Mapping]]] = ..., jobs: _Optional[_Iterable[_Union[JobRecord, _Mapping]]] = ..., recent_deaths: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ..., ended_actors: _Optional[_Iterable[_Union[EndActor, _Mapping]]] = ...) -> None: ...

class NodeResources(_message.Message):
    __slots__ = ("node_id", "available")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    available: _common_pb2.Resources
    def __init__(self, node_id: _Optional[bytes] = ..., available: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ...) -> None: ...

class ResourceNews(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeResources]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeResources, _Mapping]]] = ...) -> None: ...

class Claims(_message.Message):
    __slots__ = ("claims",)
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    def __init__(self, claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("id", "resources", "strategy")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    id: int
    resources: _common_pb2.Resources
    strategy: _common_pb2.SchedulingStrategy
    def __init__(self, id: _Optional[int] = ..., resources: _Optional[_Union[_common_pb2.Resources, _Mapping]] = ..., strategy: _Optional[_Union[_common_pb2.SchedulingStrategy, _Mapping]] = ...) -> None: ...

class JobNotice(_message.Message):
    __slots__ = ("job_id", "key", "text")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    key: str
    text: str
    def __init__(self, job_id: _Optional[bytes] = ..., key: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class CreateActor(_message.Message):
    __slots__ = ("spec", "incarnation", "bundle_index", "job")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_INDEX_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    incarnation: int
    bundle_index: int
    job: JobRecord
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., incarnation: _Optional[int] = ..., bundle_index: _Optional[int] = ..., job: _Optional[_Union[JobRecord, _Mapping]] = ...) -> None: ...

class EndActor(_message.Message):
    __slots__ = ("actor_id", "incarnation", "cause", "graceful")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    incarnation: int
    cause: _common_pb2.DeathCause
    graceful: bool
    def __init__(self, actor_id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., cause: _Optional[_Union[_common_pb2.DeathCause, _Mapping]] = ..., graceful: bool = ...) -> None: ...

class JobStarted(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: JobRecord
    def __init__(self, job: _Optional[_Union[JobRecord, _Mapping]] = ...) -> None: ...

class JobEnded(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    def __init__(self, job_id: _Optional[bytes] = ...) -> None: ...

class WorkersDiedNotice(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    def __init__(self, workers: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ...) -> None: ...

class WorkersDiedReceived(_message.Message):
    __slots__ = ("report_id",)
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    report_id: int
    def __init__(self, report_id: _Optional[int] = ...) -> None: ...

class DeclaredDead(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("deadline_s",)
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    deadline_s: float
    def __init__(self, deadline_s: _Optional[float] = ...) -> None: ...

class DrainNode(_message.Message):
    __slots__ = ("node_id", "reason", "message", "deadline_s")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[DrainNode.Reason]
        IDLE_TERMINATION: _ClassVar[DrainNode.Reason]
        PREEMPTION: _ClassVar[DrainNode.Reason]
    UNKNOWN: DrainNode.Reason
    IDLE_TERMINATION: DrainNode.Reason
    PREEMPTION: DrainNode.Reason
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    reason: DrainNode.Reason
    message: str
    deadline_s: float
    def __init__(self, node_id: _Optional[bytes] = ..., reason: _Optional[_Union[DrainNode.Reason, str]] = ..., message: _Optional[str] = ..., deadline_s: _Optional[float] = ...) -> None: ...

class NodeDrain(_message.Message):
    __slots__ = ("accepted", "reason")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    reason: str
    def __init__(self, accepted: bool = ..., reason: _Optional[str] = ...) -> None: ...
