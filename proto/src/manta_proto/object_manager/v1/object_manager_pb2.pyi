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
    CREATE: _ClassVar[Kind]
    CREATED: _ClassVar[Kind]
    SEAL: _ClassVar[Kind]
    ABORT: _ClassVar[Kind]
    GET: _ClassVar[Kind]
    LOCATED: _ClassVar[Kind]
    GET_CANCELLED: _ClassVar[Kind]
    RELEASE: _ClassVar[Kind]
    FREE: _ClassVar[Kind]
    DESCRIBE: _ClassVar[Kind]
    DESCRIBED: _ClassVar[Kind]
    EXTENT_WANTED: _ClassVar[Kind]
    EXTENT_GRANTED: _ClassVar[Kind]
    EXTENT_RETURNED: _ClassVar[Kind]
    EXTENTS_ASKED: _ClassVar[Kind]
    EXTENTS_ANSWERED: _ClassVar[Kind]
    GARBAGE_ASKED: _ClassVar[Kind]
    GARBAGE_COLLECTED: _ClassVar[Kind]
    NODES: _ClassVar[Kind]
    WORKERS_DIED: _ClassVar[Kind]
    JOB_ENDED: _ClassVar[Kind]
    PREFETCH: _ClassVar[Kind]
    ARENA_USE: _ClassVar[Kind]
NONE: Kind
WELCOME: Kind
REFUSED: Kind
CREATE: Kind
CREATED: Kind
SEAL: Kind
ABORT: Kind
GET: Kind
LOCATED: Kind
GET_CANCELLED: Kind
RELEASE: Kind
FREE: Kind
DESCRIBE: Kind
DESCRIBED: Kind
EXTENT_WANTED: Kind
EXTENT_GRANTED: Kind
EXTENT_RETURNED: Kind
EXTENTS_ASKED: Kind
EXTENTS_ANSWERED: Kind
GARBAGE_ASKED: Kind
GARBAGE_COLLECTED: Kind
NODES: Kind
WORKERS_DIED: Kind
JOB_ENDED: Kind
PREFETCH: Kind
ARENA_USE: Kind

class ArenaUse(_message.Message):
    __slots__ = ("used",)
    USED_FIELD_NUMBER: _ClassVar[int]
    used: int
    def __init__(self, used: _Optional[int] = ...) -> None: ...

class ArenaWelcome(_message.Message):
    __slots__ = ("size", "flight_address", "object_manager_address", "metrics_address", "extents")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FLIGHT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MANAGER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EXTENTS_FIELD_NUMBER: _ClassVar[int]
    size: int
    flight_address: str
    object_manager_address: str
    metrics_address: str
    extents: bool
    def __init__(self, size: _Optional[int] = ..., flight_address: _Optional[str] = ..., object_manager_address: _Optional[str] = ..., metrics_address: _Optional[str] = ..., extents: bool = ...) -> None: ...

class Create(_message.Message):
    __slots__ = ("request_id", "object_id", "size", "owner", "collect", "let_go")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    COLLECT_FIELD_NUMBER: _ClassVar[int]
    LET_GO_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    object_id: bytes
    size: int
    owner: _common_pb2.WorkerAddress
    collect: bool
    let_go: bool
    def __init__(self, request_id: _Optional[int] = ..., object_id: _Optional[bytes] = ..., size: _Optional[int] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., collect: bool = ..., let_go: bool = ...) -> None: ...

class Created(_message.Message):
    __slots__ = ("request_id", "offset", "failure", "exists")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    offset: int
    failure: Failure
    exists: bool
    def __init__(self, request_id: _Optional[int] = ..., offset: _Optional[int] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., exists: bool = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("object_id", "keep_pin", "extent", "offset", "size", "owner")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    KEEP_PIN_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    keep_pin: bool
    extent: int
    offset: int
    size: int
    owner: _common_pb2.WorkerAddress
    def __init__(self, object_id: _Optional[bytes] = ..., keep_pin: bool = ..., extent: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("object_id",)
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    def __init__(self, object_id: _Optional[bytes] = ...) -> None: ...

class ExtentWanted(_message.Message):
    __slots__ = ("size", "at_least")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    size: int
    at_least: int
    def __init__(self, size: _Optional[int] = ..., at_least: _Optional[int] = ...) -> None: ...

class ExtentGranted(_message.Message):
    __slots__ = ("extent", "offset", "size")
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    extent: int
    offset: int
    size: int
    def __init__(self, extent: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class ExtentReturned(_message.Message):
    __slots__ = ("parts",)
    class Part(_message.Message):
        __slots__ = ("extent", "offset", "size")
        EXTENT_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        extent: int
        offset: int
        size: int
        def __init__(self, extent: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[ExtentReturned.Part]
    def __init__(self, parts: _Optional[_Iterable[_Union[ExtentReturned.Part, _Mapping]]] = ...) -> None: ...

class ExtentsAsked(_message.Message):
    __slots__ = ("round", "give_back")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    GIVE_BACK_FIELD_NUMBER: _ClassVar[int]
    round: int
    give_back: bool
    def __init__(self, round: _Optional[int] = ..., give_back: bool = ...) -> None: ...

class ExtentsAnswered(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class GarbageAsked(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class GarbageCollected(_message.Message):
    __slots__ = ("round", "let_go")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    LET_GO_FIELD_NUMBER: _ClassVar[int]
    round: int
    let_go: bool
    def __init__(self, round: _Optional[int] = ..., let_go: bool = ...) -> None: ...

class Get(_message.Message):
    __slots__ = ("request_id", "object_id", "node_ids", "owner", "collect")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    COLLECT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    object_id: bytes
    node_ids: _containers.RepeatedScalarFieldContainer[bytes]
    owner: _common_pb2.WorkerAddress
    collect: bool
    def __init__(self, request_id: _Optional[int] = ..., object_id: _Optional[bytes] = ..., node_ids: _Optional[_Iterable[bytes]] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ..., collect: bool = ...) -> None: ...

class Located(_message.Message):
    __slots__ = ("request_id", "object_id", "offset", "size", "failure")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    object_id: bytes
    offset: int
    size: int
    failure: Failure
    def __init__(self, request_id: _Optional[int] = ..., object_id: _Optional[bytes] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class GetCancelled(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "lost_at")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[Failure.Code]
        LOST: _ClassVar[Failure.Code]
        FULL: _ClassVar[Failure.Code]
        INVALID: _ClassVar[Failure.Code]
    NONE: Failure.Code
    LOST: Failure.Code
    FULL: Failure.Code
    INVALID: Failure.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LOST_AT_FIELD_NUMBER: _ClassVar[int]
    code: Failure.Code
    message: str
    lost_at: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, code: _Optional[_Union[Failure.Code, str]] = ..., message: _Optional[str] = ..., lost_at: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("object_ids",)
    OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    object_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, object_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Free(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("object_id", "node_ids", "only_there")
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        NODE_IDS_FIELD_NUMBER: _ClassVar[int]
        ONLY_THERE_FIELD_NUMBER: _ClassVar[int]
        object_id: bytes
        node_ids: _containers.RepeatedScalarFieldContainer[bytes]
        only_there: bool
        def __init__(self, object_id: _Optional[bytes] = ..., node_ids: _Optional[_Iterable[bytes]] = ..., only_there: bool = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Free.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Free.Item, _Mapping]]] = ...) -> None: ...

class FreeRequest(_message.Message):
    __slots__ = ("object_ids",)
    OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    object_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, object_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FreeReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Nodes(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[_common_pb2.NodeInfo]
    def __init__(self, nodes: _Optional[_Iterable[_Union[_common_pb2.NodeInfo, _Mapping]]] = ...) -> None: ...

class WorkersDied(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[_common_pb2.DeadWorker]
    def __init__(self, workers: _Optional[_Iterable[_Union[_common_pb2.DeadWorker, _Mapping]]] = ...) -> None: ...

class JobEnded(_message.Message):
    __slots__ = ("job_id", "surviving_worker_ids")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SURVIVING_WORKER_IDS_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    surviving_worker_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, job_id: _Optional[bytes] = ..., surviving_worker_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Prefetch(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
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
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Prefetch.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Prefetch.Item, _Mapping]]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("request_id", "with_objects")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    with_objects: bool
    def __init__(self, request_id: _Optional[int] = ..., with_objects: bool = ...) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("request_id", "arena_size", "used", "touched", "objects_count", "pins_count", "objects", "extents")
    class Object(_message.Message):
        __slots__ = ("object_id", "size", "sealed", "primary", "freed", "pins", "owner")
        OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        SEALED_FIELD_NUMBER: _ClassVar[int]
        PRIMARY_FIELD_NUMBER: _ClassVar[int]
        FREED_FIELD_NUMBER: _ClassVar[int]
        PINS_FIELD_NUMBER: _ClassVar[int]
        OWNER_FIELD_NUMBER: _ClassVar[int]
        object_id: bytes
        size: int
        sealed: bool
        primary: bool
        freed: bool
        pins: int
        owner: _common_pb2.WorkerAddress
        def __init__(self, object_id: _Optional[bytes] = ..., size: _Optional[int] = ..., sealed: bool = ..., primary: bool = ..., freed: bool = ..., pins: _Optional[int] = ..., owner: _Optional[_Union[_common_pb2.WorkerAddress, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ARENA_SIZE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_COUNT_FIELD_NUMBER: _ClassVar[int]
    PINS_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    EXTENTS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    arena_size: int
    used: int
    touched: int
    objects_count: int
    pins_count: int
    objects: _containers.RepeatedCompositeFieldContainer[DescribeReply.Object]
    extents: int
    def __init__(self, request_id: _Optional[int] = ..., arena_size: _Optional[int] = ..., used: _Optional[int] = ..., touched: _Optional[int] = ..., objects_count: _Optional[int] = ..., pins_count: _Optional[int] = ..., objects: _Optional[_Iterable[_Union[DescribeReply.Object, _Mapping]]] = ..., extents: _Optional[int] = ...) -> None: ...
