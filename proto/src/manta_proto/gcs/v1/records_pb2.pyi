from manta_proto.common.v1 import common_pb2 as _common_pb2
from manta_proto.gcs.v1 import actor_pb2 as _actor_pb2
from manta_proto.gcs.v1 import gcs_pb2 as _gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as _placement_group_pb2
from manta_proto.worker.v1 import worker_pb2 as _worker_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoredRecord(_message.Message):
    __slots__ = ("version_major", "version_minor", "node", "job", "actor", "name", "kv", "cluster", "definition", "chunks", "placement_group")
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KV_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GROUP_FIELD_NUMBER: _ClassVar[int]
    version_major: int
    version_minor: int
    node: StoredNode
    job: _gcs_pb2.JobRecord
    actor: StoredActor
    name: StoredName
    kv: StoredKv
    cluster: StoredCluster
    definition: StoredDefinition
    chunks: StoredChunks
    placement_group: _placement_group_pb2.PlacementGroupInfo
    def __init__(self, version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., node: _Optional[_Union[StoredNode, _Mapping]] = ..., job: _Optional[_Union[_gcs_pb2.JobRecord, _Mapping]] = ..., actor: _Optional[_Union[StoredActor, _Mapping]] = ..., name: _Optional[_Union[StoredName, _Mapping]] = ..., kv: _Optional[_Union[StoredKv, _Mapping]] = ..., cluster: _Optional[_Union[StoredCluster, _Mapping]] = ..., definition: _Optional[_Union[StoredDefinition, _Mapping]] = ..., chunks: _Optional[_Union[StoredChunks, _Mapping]] = ..., placement_group: _Optional[_Union[_placement_group_pb2.PlacementGroupInfo, _Mapping]] = ...) -> None: ...

class StoredNode(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.NodeInfo
    def __init__(self, info: _Optional[_Union[_common_pb2.NodeInfo, _Mapping]] = ...) -> None: ...

class StoredActor(_message.Message):
    __slots__ = ("spec", "status", "definition_digest")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    spec: _actor_pb2.ActorSpec
    status: _actor_pb2.ActorStatus
    definition_digest: bytes
    def __init__(self, spec: _Optional[_Union[_actor_pb2.ActorSpec, _Mapping]] = ..., status: _Optional[_Union[_actor_pb2.ActorStatus, _Mapping]] = ..., definition_digest: _Optional[bytes] = ...) -> None: ...

class StoredName(_message.Message):
    __slots__ = ("actor_id",)
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    actor_id: bytes
    def __init__(self, actor_id: _Optional[bytes] = ...) -> None: ...

class StoredKv(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    def __init__(self, value: _Optional[bytes] = ...) -> None: ...

class StoredCluster(_message.Message):
    __slots__ = ("cluster_id", "last_job", "session_name")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_JOB_FIELD_NUMBER: _ClassVar[int]
    SESSION_NAME_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    last_job: int
    session_name: str
    def __init__(self, cluster_id: _Optional[str] = ..., last_job: _Optional[int] = ..., session_name: _Optional[str] = ...) -> None: ...

class StoredDefinition(_message.Message):
    __slots__ = ("definition",)
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    definition: _worker_pb2.Definition
    def __init__(self, definition: _Optional[_Union[_worker_pb2.Definition, _Mapping]] = ...) -> None: ...

class StoredChunks(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...
