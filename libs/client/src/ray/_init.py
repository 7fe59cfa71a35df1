"""ray.init() and ray.shutdown(): connecting this process, starting a cluster first where none is given."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ray._context import RayContext
from ray._driver_options import DriverOptions
from ray._runtime import current
from ray.job_config import JobConfig, LoggingConfig

if TYPE_CHECKING:
    from ray._node import ClusterAddress, LocalNode
    from ray._runtime.api import Runtime

log = logging.getLogger("ray")

LOG_FORMAT: Final = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"

# Keys of _system_config that some part of the cluster reads; docs/operations.md says which does what.
KNOWN_SYSTEM_CONFIG: Final = frozenset(
    {
        "health_check_failure_threshold",
        "health_check_period_ms",
        "idle_worker_killing_time_threshold_ms",
        "kill_child_processes_on_worker_exit",
        "max_direct_call_object_size",
        "max_lineage_bytes",
        "maximum_gcs_destroyed_actor_cached_count",
        "metrics_report_interval_ms",
        "num_workers_soft_limit",
        "object_manager_max_bytes_in_flight",
        "record_task_actor_creation_sites",
        "scheduler_spread_threshold",
        "scheduler_top_k_absolute",
        "scheduler_top_k_fraction",
        "task_events_report_interval_ms",
        "task_retry_delay_ms",
        "task_rpc_inlined_bytes_limit",
        "worker_lease_timeout_milliseconds",
        "worker_niceness",
        "worker_register_timeout_seconds",
    }
)
# Those of what is not there yet, -> its name.
_LATER_SYSTEM_CONFIG: Final = {
    "automatic_object_spilling_enabled": "spilling",
    "max_spilling_file_size_bytes": "spilling",
    "memory_monitor_refresh_ms": "the memory monitor",
    "memory_usage_threshold": "the memory monitor",
    "min_spilling_size": "spilling",
    "object_spilling_config": "spilling",
    "object_spilling_directory": "spilling",
    "object_spilling_threshold": "spilling",
}

# Keyword arguments beyond the named ones; those not in _HONOURED are accepted with a warning.
_HONOURED: Final = frozenset(
    {
        *("_memory", "_metrics_export_port", "_node_ip_address", "_node_name"),
        *("_skip_env_hook", "_system_config", "_temp_dir"),
    }
)
_KNOWN: Final = _HONOURED | frozenset(
    {
        "_cluster_id",
        "_driver_object_store_memory",
        "_enable_object_reconstruction",
        "_object_spilling_directory",
        "_plasma_directory",
        "_redis_max_memory",
        "_redis_password",
        "_redis_username",
        "_tracing_startup_hook",
    }
)


class _Connection:
    """What this process set up: the runtime, and the node that it started, if it did."""

    def __init__(self, runtime: Runtime, node: LocalNode | None, context: RayContext) -> None:
        self.runtime = runtime
        self.node = node
        self.context = context
        self.pid = os.getpid()

    def close(self) -> None:
        """Disconnect, then end the node. A process that user code forked owns neither."""
        if self.pid != os.getpid():
            return
        try:
            self.runtime.shutdown()
        finally:
            current.set_runtime(None)
            if self.node is not None:
                self.node.stop()


_connection: _Connection | None = None
# Two threads whose first calls connect the process must make one connection. In a child nobody is left to free it.
_lock = threading.RLock()
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: JobConfig | Mapping[str, Any] | None = None,
    configure_logging: bool = True,
    logging_level: int | str = logging.INFO,
    logging_format: str | None = None,
    logging_config: LoggingConfig | None = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> RayContext:
    """Connect this process to a cluster; start one on this machine where none is given.

    address: "host:port" (several with commas), "auto" for this machine's latest cluster, "local" for a new one; None:
    RAY_ADDRESS, else a cluster that `ray start` runs on this machine, else a new one. A cluster that this starts ends
    with this process. num_cpus, num_gpus, resources, labels, object_store_memory (bytes): of the new node, detected
    when None. namespace: of actors' names; None for one of its own.

    returns: a RayContext, which reads like a dict and ends the connection as a context manager.
    raises: RuntimeError when already connected (but ignore_reinit_error), or for unknown keyword arguments;
    ValueError, TypeError for bad ones; ConnectionError when the cluster does not answer.
    """
    global _connection
    unknown = sorted(set(kwargs) - _KNOWN)
    if unknown:
        raise RuntimeError(
            f"ray.init() got unknown keyword arguments: {', '.join(unknown)}; beside the documented ones it knows "
            f"{', '.join(sorted(_KNOWN))}"
        )
    with _lock:
        if current.runtime_or_none() is not None:
            return _again(ignore_reinit_error)
        if _connection is not None and _connection.pid != os.getpid():
            # Threads and gRPC of the parent are gone here, their locks may be held for ever.
            raise RuntimeError(
                "ray.init() was called in a process forked from one that is connected. Start it by spawning "
                "(multiprocessing.get_context('spawn')) instead, or use tasks and actors"
            )
        if configure_logging:
            _configure_logging(logging_level, logging_format)
        _warn_of_unsupported(
            kwargs,
            local_mode=local_mode,
            include_dashboard=bool(include_dashboard),
            dashboard_port=dashboard_port is not None,
            dashboard_host=dashboard_host != "127.0.0.1",
        )
        env_hook = os.environ.get("RAY_RUNTIME_ENV_HOOK")
        if env_hook and not kwargs.get("_skip_env_hook"):
            from ray._setup_hook import load_by_name

            runtime_env = load_by_name(env_hook)(runtime_env)
        job = _job_config(job_config, runtime_env, namespace)
        job.ensure_logging_config(logging_config or _logging_config_of_environment())
        if job.py_logging_config is not None:
            from ray import _log_records

            _log_records.apply(job.py_logging_config)
        system_config = _system_config(kwargs.get("_system_config"))

        from ray._node import ClusterAddress, NodeOptions, find_address, start_local
        from ray._supervisor import standard_descriptors

        standard_descriptors.fill()  # before anything of ours is opened

        temp_dir = kwargs.get("_temp_dir") or ""
        found = find_address(address, temp_root=temp_dir)
        node: LocalNode | None = None
        if found is None:
            node = start_local(
                NodeOptions(
                    num_cpus=num_cpus,
                    num_gpus=num_gpus,
                    memory=kwargs.get("_memory"),
                    object_store_memory=object_store_memory,
                    resources=dict(resources or {}),
                    labels=dict(labels or {}),
                    node_name=kwargs.get("_node_name") or "",
                    node_ip=kwargs.get("_node_ip_address") or "127.0.0.1",
                    metrics_port=kwargs.get("_metrics_export_port") or 0,
                    temp_dir=temp_dir,
                    system_config=system_config,
                ),
                meanwhile=_import_runtime,
            )
            found = ClusterAddress(node.gcs_addresses, node.session_dir)
        else:
            _refuse_node_arguments(
                found,
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                resources=resources,
                labels=labels,
                object_store_memory=object_store_memory,
                _memory=kwargs.get("_memory"),
                _metrics_export_port=kwargs.get("_metrics_export_port"),
                _node_name=kwargs.get("_node_name"),
                _system_config=system_config or None,
            )
        runtime: Runtime | None = None
        try:
            runtime = _connect(found, node, job, log_to_driver, kwargs.get("_node_ip_address") or "", system_config)
            _connection = _Connection(runtime, node, _context_of(runtime, node))
        except BaseException:
            if runtime is not None:
                runtime.shutdown()
                current.set_runtime(None)
            if node is not None:
                node.stop()
            raise
        _end_at_exit()
        log.info("%s %s", "Started a local cluster at" if node is not None else "Connected to", runtime.gcs_addresses)
        return _connection.context


def is_initialized() -> bool:
    """Whether this process is connected."""
    return current.runtime_or_none() is not None


def shutdown(*, wait_for_processes: bool = True, _exiting_interpreter: bool = False) -> None:
    """Disconnect, and end the cluster if ray.init() started it; nothing of it is left when this returns.

    Does nothing when not connected. ray.init() may be called again. wait_for_processes: kept for programs that pass
    it; this always waits.
    """
    global _connection
    with _lock:
        connection, _connection = _connection, None
        if connection is not None:
            connection.close()
            return
        runtime = current.runtime_or_none()
        # A worker's connection belongs to the worker.
        if runtime is not None and runtime.is_driver:
            runtime.shutdown()
            current.set_runtime(None)


def _again(ignore: bool) -> RayContext:
    if not ignore:
        raise RuntimeError(
            "ray.init() was called, but this process is connected already. Call ray.shutdown() first, or pass "
            "ignore_reinit_error=True to go on with the connection there is."
        )
    log.info("ray.init() called again; the arguments are ignored and the connection stays as it is")
    if _connection is not None:
        return _connection.context
    return _context_of(current.runtime(), None)


def _import_runtime() -> None:
    """What connecting needs; it takes as long as a service takes to start, so it is done beside them."""
    import ray._runtime.process.connect  # noqa: F401


def _connect(
    address: ClusterAddress,
    node: LocalNode | None,
    job: JobConfig,
    log_to_driver: bool | None,
    node_ip: str,
    system_config: Mapping[str, Any],
) -> Runtime:
    from ray._runtime.process.connect import connect_driver

    if log_to_driver is None:
        log_to_driver = os.environ.get("RAY_LOG_TO_DRIVER", "1").lower() not in ("0", "false")
    options = DriverOptions(
        namespace=job.ray_namespace or _own_namespace(),
        entrypoint=" ".join(sys.argv),
        runtime_env=job.runtime_env.serialize() if job.runtime_env else "",
        job_config=job.to_json(),
        metadata=job.metadata,
        working_directory=os.getcwd(),
        sys_path=(*job._py_driver_sys_path, *(os.path.abspath(folder) for folder in sys.path)),
        log_to_driver=log_to_driver,
        token=node.token if node is not None else b"",
        node_ip=node_ip,
        raylet_socket=node.raylet_socket if node is not None else "",
        system_config=system_config,
    )
    runtime: Runtime = connect_driver(address, options)
    return runtime


def _own_namespace() -> str:
    """A namespace nobody else is in, for drivers that name none."""
    import uuid

    return str(uuid.uuid4())


def _context_of(runtime: Runtime, node: LocalNode | None) -> RayContext:
    if node is not None:
        own = {"ip": node.node_ip, "raylet": node.raylet_socket, "store": node.object_manager_socket}
        metrics_port = node.metrics_port
    else:
        node_id = runtime.node_id.hex()
        found: dict[str, Any] = next((entry for entry in runtime.nodes() if entry["NodeID"] == node_id), {})
        own = {
            "ip": found.get("NodeManagerAddress", ""),
            "raylet": found.get("RayletSocketName", ""),
            "store": found.get("ObjectStoreSocketName", ""),
        }
        metrics_port = found.get("MetricsExportPort", 0)
    return RayContext(
        {
            "node_ip_address": own["ip"],
            "gcs_address": runtime.gcs_addresses,
            "address": runtime.gcs_addresses,
            "session_dir": runtime.session_dir,
            "node_id": runtime.node_id.hex(),
            "raylet_socket_name": own["raylet"],
            "object_store_address": own["store"],
            "webui_url": "",
            "metrics_export_port": metrics_port or None,
        }
    )


def _job_config(
    job_config: JobConfig | Mapping[str, Any] | None, runtime_env: Mapping[str, Any] | None, namespace: str | None
) -> JobConfig:
    """One JobConfig of the three arguments, checked. runtime_env and namespace beat those in job_config.

    raises: RuntimeEnvSetupError for a runtime_env with what is not there yet.
    """
    from ray._setup_hook import pack
    from ray.runtime_env import RuntimeEnv, refuse_unsupported

    if job_config is None:
        job = JobConfig()
    elif isinstance(job_config, JobConfig):
        job = job_config
    elif isinstance(job_config, Mapping):
        job = JobConfig.from_json(job_config)
    else:
        raise TypeError(f"job_config must be a JobConfig, not {type(job_config).__name__}: {job_config!r}")
    if namespace is None:
        namespace = job.ray_namespace or os.environ.get("RAY_NAMESPACE") or None
    elif not isinstance(namespace, str):
        raise TypeError(f"namespace must be a string, not {type(namespace).__name__}: {namespace!r}")
    elif not namespace:
        raise ValueError("namespace must not be empty; pass None for one of its own")
    if namespace is not None:
        job.set_ray_namespace(namespace)
    if runtime_env is not None:
        if not isinstance(runtime_env, Mapping):
            raise TypeError(f"runtime_env must be a dict or RuntimeEnv, not {type(runtime_env).__name__}")
        job.set_runtime_env(runtime_env, validate=True)
    elif not isinstance(job.runtime_env, RuntimeEnv):
        job.set_runtime_env(job.runtime_env, validate=True)
    refuse_unsupported(job.runtime_env)
    hook = job.runtime_env.get("worker_process_setup_hook")
    job.setup_hook = None if hook is None else pack(hook)
    return job


def _system_config(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"_system_config must be a dict, not {type(given).__name__}: {given!r}")
    for key, missing in _LATER_SYSTEM_CONFIG.items():
        if key in given:
            warnings.warn(f"_system_config: {key} has no effect: {missing} is not supported yet", stacklevel=3)
    unknown = sorted(set(given) - KNOWN_SYSTEM_CONFIG - _LATER_SYSTEM_CONFIG.keys())
    if unknown:
        warnings.warn(f"_system_config: unknown keys without effect: {', '.join(map(str, unknown))}", stacklevel=3)
    return dict(given)


def _refuse_node_arguments(address: ClusterAddress, **arguments: Any) -> None:
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(
            f"ray.init() connects to the running cluster {','.join(address.gcs_addresses)}, whose nodes are as they "
            f"are: leave out {', '.join(given)}, or pass address='local' to start a new cluster"
        )


def _warn_of_unsupported(kwargs: Mapping[str, Any], **given: bool) -> None:
    names = [name for name, is_given in given.items() if is_given]
    names += [name for name, value in kwargs.items() if name not in _HONOURED and value is not None]
    if names:
        warnings.warn(f"ray.init(): not supported yet and without effect: {', '.join(sorted(names))}", stacklevel=3)


def _configure_logging(level: int | str, form: str | None) -> None:
    """Let the `ray` logger write to stderr, unless the program set up logging itself."""
    log.setLevel(level.upper() if isinstance(level, str) else level)
    if not log.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(form or LOG_FORMAT))
        log.addHandler(handler)
        log.propagate = False


def _logging_config_of_environment() -> LoggingConfig | None:
    encoding = os.environ.get("RAY_LOGGING_CONFIG_ENCODING")
    return LoggingConfig(encoding=encoding) if encoding else None


def _end_at_exit() -> None:
    # Registered anew by each init: handlers run last in, first out, and ours should run before those of modules that
    # were imported earlier.
    atexit.unregister(shutdown)
    atexit.register(shutdown, _exiting_interpreter=True)
