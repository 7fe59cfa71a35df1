from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[Kind]
    READY: _ClassVar[Kind]
    FORK: _ClassVar[Kind]
    FORKED: _ClassVar[Kind]
    FORK_FAILED: _ClassVar[Kind]
    EXITED: _ClassVar[Kind]
NONE: Kind
READY: Kind
FORK: Kind
FORKED: Kind
FORK_FAILED: Kind
EXITED: Kind

class Ready(_message.Message):
    __slots__ = ("pid", "python", "version_major", "version_minor")
    PID_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    pid: int
    python: str
    version_major: int
    version_minor: int
    def __init__(self, pid: _Optional[int] = ..., python: _Optional[str] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ...) -> None: ...

class Fork(_message.Message):
    __slots__ = ("request_id", "worker_id", "node_id", "job_id", "raylet_socket", "object_manager_socket", "socket_dir", "session_dir", "gcs_addresses", "env", "working_directory", "sys_path", "num_threads", "runtime_env", "ray_namespace", "ip_address", "token", "raylet_pid", "job_config", "version_major", "version_minor", "tls_ca", "tls_cert", "tls_key", "welcome", "niceness")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RAYLET_SOCKET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_MANAGER_SOCKET_FIELD_NUMBER: _ClassVar[int]
    SOCKET_DIR_FIELD_NUMBER: _ClassVar[int]
    SESSION_DIR_FIELD_NUMBER: _ClassVar[int]
    GCS_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    SYS_PATH_FIELD_NUMBER: _ClassVar[int]
    NUM_THREADS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ENV_FIELD_NUMBER: _ClassVar[int]
    RAY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    IP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RAYLET_PID_FIELD_NUMBER: _ClassVar[int]
    JOB_CONFIG_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    TLS_CA_FIELD_NUMBER: _ClassVar[int]
    TLS_CERT_FIELD_NUMBER: _ClassVar[int]
    TLS_KEY_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    NICENESS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    worker_id: bytes
    node_id: bytes
    job_id: bytes
    raylet_socket: str
    object_manager_socket: str
    socket_dir: str
    session_dir: str
    gcs_addresses: str
    env: _containers.ScalarMap[str, str]
    working_directory: str
    sys_path: _containers.RepeatedScalarFieldContainer[str]
    num_threads: int
    runtime_env: str
    ray_namespace: str
    ip_address: str
    token: bytes
    raylet_pid: int
    job_config: str
    version_major: int
    version_minor: int
    tls_ca: str
    tls_cert: str
    tls_key: str
    welcome: bytes
    niceness: int
    def __init__(self, request_id: _Optional[int] = ..., worker_id: _Optional[bytes] = ..., node_id: _Optional[bytes] = ..., job_id: _Optional[bytes] = ..., raylet_socket: _Optional[str] = ..., object_manager_socket: _Optional[str] = ..., socket_dir: _Optional[str] = ..., session_dir: _Optional[str] = ..., gcs_addresses: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., working_directory: _Optional[str] = ..., sys_path: _Optional[_Iterable[str]] = ..., num_threads: _Optional[int] = ..., runtime_env: _Optional[str] = ..., ray_namespace: _Optional[str] = ..., ip_address: _Optional[str] = ..., token: _Optional[bytes] = ..., raylet_pid: _Optional[int] = ..., job_config: _Optional[str] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., tls_ca: _Optional[str] = ..., tls_cert: _Optional[str] = ..., tls_key: _Optional[str] = ..., welcome: _Optional[bytes] = ..., niceness: _Optional[int] = ...) -> None: ...

class Forked(_message.Message):
    __slots__ = ("request_id", "pid")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    pid: int
    def __init__(self, request_id: _Optional[int] = ..., pid: _Optional[int] = ...) -> None: ...

class ForkFailed(_message.Message):
    __slots__ = ("request_id", "message", "lacks_room")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LACKS_ROOM_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    message: str
    lacks_room: bool
    def __init__(self, request_id: _Optional[int] = ..., message: _Optional[str] = ..., lacks_room: bool = ...) -> None: ...

class Exited(_message.Message):
    __slots__ = ("pid", "status")
    PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    pid: int
    status: int
    def __init__(self, pid: _Optional[int] = ..., status: _Optional[int] = ...) -> None: ...
